# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lots: when each was made, its parts and its yield; to begin and to end one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vision_line.desk.boxes import each_box, present_boxes
from vision_line.desk.record_reader import DeskSource
from vision_line.desk.rendering import page
from vision_line.desk.report.passed_parts import find_escapes
from vision_line.desk.sent_fields import SentFields
from vision_line.desk.services import Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.errors import ConfigError
from vision_line.parts.line_commands import LotCommand, checked_command
from vision_line.parts.lot_spans import LotSpan, distinct, lot_spans, read_lot_orders
from vision_line.parts.orders import EVERYWHERE, Asked
from vision_line.parts.passed import PartsFilter, count_parts, read_lanes
from vision_line.records.records import Records

router = APIRouter()

Reader = Annotated[DeskSession, Depends(require(Role.READER))]
Quality = Annotated[DeskSession, Depends(require(Role.QUALITY))]

DOOR = "desk"
#: So many lots are shown, the newest first; an export has all. Their parts are counted for each answer, which takes
#: some 30 ms of a lot of 30 000.
MOST_LOTS = 25

_ORDERED = "SELECT DISTINCT lane FROM lots WHERE lane <> '*'"


@dataclass(frozen=True, slots=True)
class MadeLot:
    """A lot in one of its times, with its parts in all of them; `good`: let through, and no reject is known of them."""

    lot: str
    lane: str
    since_utc: float
    until_utc: float | None
    parts: int
    inspected: int
    good: int
    rejected: int
    not_inspected: int
    found_later: int
    box: str = ""  # of the desk of all boxes


@dataclass(frozen=True, slots=True)
class BegunLot:
    """What was begun or ended, as every door answers it, and all lots as they are then.

    `checked` is false where nobody knows whether the lane exists, and `note` says so.
    """

    checked: bool
    note: str
    lots: Sequence[MadeLot]


@router.get("/lots", include_in_schema=False)
def lots_page(services: Services, session: Reader) -> HTMLResponse:
    """Show the lots."""
    return _lots_page(services, session)


@router.get("/api/v1/lots")
def lots(services: Services) -> Sequence[MadeLot]:
    """Return the newest lots, the newest first, with their parts."""
    return read_lots(services.reader)


@router.post("/api/v1/lots")
def begin_lot(services: Services, session: Quality, wanted: LotCommand) -> BegunLot:
    """Begin a lot from now on, or end the one that is made; with the same `request` it is the same lot.

    409: the line does not have the lane.
    """
    try:
        answer = services.commands.carry_out(wanted, Asked(session.user, DOOR), time.monotonic())
    except ConfigError as exc:
        raise HTTPException(HTTPStatus.CONFLICT, str(exc)) from exc
    return BegunLot(bool(answer["checked"]), str(answer.get("note", "")), read_lots(services.reader))


@router.post("/lots", include_in_schema=False)
def change_lot(services: Services, session: Quality, sent: SentFields) -> Response:
    """Do what the button says, and show the page again."""
    lot, lane = sent.get("lot", "").strip(), sent.get("lane", "").strip() or EVERYWHERE
    try:
        if not lot and sent.get("act") != "end":
            raise ConfigError("give the lot a name")
        wanted = checked_command(LotCommand, {"lot": "" if sent.get("act") == "end" else lot, "lane": lane})
        answer = services.commands.carry_out(wanted, Asked(session.user, DOOR), time.monotonic())
    except ConfigError as exc:
        return _lots_page(services, session, str(exc), HTTPStatus.BAD_REQUEST)
    if note := str(answer.get("note", "")):
        return _lots_page(services, session, note)
    return RedirectResponse("/lots", HTTPStatus.SEE_OTHER)


def read_lots(source: DeskSource) -> list[MadeLot]:
    """Return the newest lots, the newest first.

    Raises:
        RunError: they cannot be read.
    """
    with source.open_parts() as connection:
        if connection is None:
            return []
        spans = [(box, span) for box, parts in each_box(connection) for span in _newest(parts)]
        newest = sorted(spans, key=lambda one: -one[1].since_utc)[:MOST_LOTS]
        found = []
        for box, parts in each_box(connection):
            own = [span for of, span in newest if of == box]
            sums = {place: _sums(parts, *place) for place in {(span.lot, span.lane) for span in own}}
            found += [_made(span, sums[span.lot, span.lane], box) for span in own]
    return sorted(found, key=lambda lot: -lot.since_utc)


def _newest(connection: Records) -> list[LotSpan]:
    """Return the newest times of lots of one box: an order for everywhere is for all lanes of the box that got it."""
    return distinct(lot_spans(read_lot_orders(connection)))[: -MOST_LOTS - 1 : -1]


def _sums(connection: Records, lot: str, lane: str) -> tuple[int, int, int, int, int, int]:
    """Return a lot's parts, inspected, good, rejected and not inspected ones, and those found defective later."""
    wanted = PartsFilter(lot=lot, lane="" if lane == EVERYWHERE else lane)
    lanes, escaped = count_parts(connection, wanted), len(find_escapes(connection, wanted))
    inspected, passed = sum(one.inspected for one in lanes), sum(one.good for one in lanes)
    rejected, missed = sum(one.reject for one in lanes), sum(one.not_inspected for one in lanes)
    return inspected + missed, inspected, passed - escaped, rejected, missed, escaped


def _made(span: LotSpan, sums: tuple[int, int, int, int, int, int], box: str) -> MadeLot:
    return MadeLot(span.lot, span.lane, span.since_utc, span.until_utc, *sums, box=box)


def _lanes(connection: Records) -> list[str]:
    """Return the lanes at which parts passed, or for which a lot was ordered, by name."""
    passed = [lane for _, own in each_box(connection) for lane in read_lanes(own)]
    return sorted({*passed, *(lane for (lane,) in connection.execute(_ORDERED))})


def _lots_page(services: Services, session: DeskSession, said: str = "", status: int = HTTPStatus.OK) -> HTMLResponse:
    with services.reader.open_parts() as connection:
        lanes = [] if connection is None else _lanes(connection)
        removed = services.reader.removed_parts()
    return page(
        "lots.html",
        status,
        lots=read_lots(services.reader),
        lanes=lanes,
        removed=removed,
        may_change=session.role.includes(Role.QUALITY) and not present_boxes().is_central,
        said=said,
        most=MOST_LOTS,
    )
