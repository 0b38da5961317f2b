# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages of challenges: what is due, buttons that lead through one, and what each showed."""

from __future__ import annotations

import time
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from fastapi import Path as InPath
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vision_line.challenges.doing import abort, begin, end, next_part, recent
from vision_line.challenges.due import TargetState
from vision_line.challenges.measuring import enter_results
from vision_line.challenges.recorded_plan import RecordedPlan, read_plan
from vision_line.challenges.showing import can_show
from vision_line.desk.challenges.challenge_board import DAYS, events_of, past_challenge, read_board
from vision_line.desk.rendering import page
from vision_line.desk.sent_fields import SentFields
from vision_line.desk.services import Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.errors import ConfigError

router = APIRouter()

Reader = Annotated[DeskSession, Depends(require(Role.READER))]
Reviewer = Annotated[DeskSession, Depends(require(Role.REVIEWER))]
Number = Annotated[int, InPath(ge=1, lt=2**63)]

#: How long the end of a challenge waits for its result, in seconds; then the page asks again.
_WAITS_S = 6.0
_ASK_EVERY_S = 0.25


@router.get("/challenges", include_in_schema=False)
def challenges_page(services: Services, session: Reader) -> HTMLResponse:
    """Show what is due, what goes on, and what was shown."""
    return _board_page(services, session)


@router.get("/challenges/{number}", include_in_schema=False)
def challenge_page(services: Services, number: Number) -> HTMLResponse:
    """Show what one challenge showed, pass by pass."""
    found = [one for one in recent(services.reader.directory, 3660.0) if one.number == number]
    if not found:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such challenge")
    past, events = past_challenge(found[0], time.time()), dict[str, int]()
    if found[0].result is not None:
        with services.reader.open() as connection:
            events = events_of(connection, found[0].result.passes)
    defective = sum(bool(one.expects) for one in found[0].begun.passes)
    return page("challenge.html", past=past, events=events, can_show=can_show(defective) if defective else "")


@router.get("/api/v1/challenges")
def challenges(services: Services) -> list[dict[str, object]]:
    """Return each target's state, `passed`, `failed` or `overdue`, with why, and by when the next challenge is due."""
    return [_as_json(one.state) for one in read_board(services.reader.directory, _plan(services)).targets]


@router.post("/challenges/{act}", include_in_schema=False)
def act(
    services: Services,
    session: Reviewer,
    fields: SentFields,
    act: Literal["start", "next", "end", "abort", "result"],
) -> Response:
    """Do what a button says, and show the page again."""
    directory, name, by = services.reader.directory, fields.get("target", ""), session.user
    try:
        match act:
            case "start":
                _start(services, name, by)
            case "next":
                next_part(directory, name, by)
            case "end":
                end(directory, name, by)
                _await_result(directory)
            case "abort":
                abort(directory, name, by, fields.get("why", "")[:200])
            case "result":
                _await_result(directory)
    except ConfigError as exc:
        return _board_page(services, session, str(exc), HTTPStatus.CONFLICT)
    return RedirectResponse("/challenges", HTTPStatus.SEE_OTHER)


def _start(services: Services, name: str, by: str) -> None:
    plan = _plan(services)
    found = [target for target in plan.targets if target.name == name]
    if not found:
        raise ConfigError(f"{name!r} is not challenged by the plan that the line follows")
    begin(services.reader.directory, found[0], plan.sha256, by)


def _await_result(directory: Path) -> None:
    """Enter results, and wait a little for records that are still to come."""
    until_s = time.monotonic() + _WAITS_S
    while enter_results(directory) and time.monotonic() < until_s:
        time.sleep(_ASK_EVERY_S)


def _plan(services: Services) -> RecordedPlan:
    with services.reader.open() as connection:
        return read_plan(connection)


def _board_page(services: Services, session: DeskSession, said: str = "", status: int = HTTPStatus.OK) -> HTMLResponse:
    board = read_board(services.reader.directory, _plan(services))
    may_act = session.role.includes(Role.REVIEWER)
    return page("challenges.html", status, board=board, may_act=may_act, said=said, days=DAYS)


def _as_json(state: TargetState) -> dict[str, object]:
    return {
        "target": state.name,
        "cameras": state.target.cameras,
        "state": state.state,
        "due_utc": state.due_utc,
        "on_fail": state.target.on_fail,
        "why": state.why,
    }
