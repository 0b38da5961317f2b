# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lots: when each was made, its parts and its yield; to begin and to end one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vision_line.desk.parts.parts_reader import open_parts
from vision_line.desk.rendering import page
from vision_line.desk.report.passed_parts import find_escapes
from vision_line.desk.sent_fields import SentFields
from vision_line.desk.services import Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.errors import ConfigError
from vision_line.parts.lot_spans import LotSpan, distinct, lot_spans, read_lot_orders
from vision_line.parts.orders import EVERYWHERE, MAX_ID, Asked, ask_lot, checked_id
from vision_line.parts.parts_removal import RemovedParts, removed_parts
from vision_line.parts.passed import PartsFilter, count_parts

router = APIRouter()

Reader = Annotated[DeskSession, Depends(require(Role.READER))]
Quality = Annotated[DeskSession, Depends(require(Role.QUALITY))]

DOOR = "desk"
#: So many lots are shown, the newest first; an export has all. Their parts are counted for each answer, which takes
#: some 30 ms of a lot of 30 000.
MOST_LOTS = 25

_LANES = "SELECT lane FROM parts UNION SELECT lane FROM lots WHERE lane <> '*' ORDER BY 1"


class WantedLot(BaseModel):
    """What is begun: "" ends the lot that is made. At a lane, or everywhere."""

    lot: str = Field(max_length=MAX_ID)
    lane: str = Field(default=EVERYWHERE, min_length=1, max_length=MAX_ID)


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


@router.get("/lots", include_in_schema=False)
def lots_page(services: Services, session: Reader) -> HTMLResponse:
    """Show the lots."""
    return _lots_page(services, session)


@router.get("/api/v1/lots")
def lots(services: Services) -> Sequence[MadeLot]:
    """Return the newest lots, the newest first, with their parts."""
    return read_lots(services.reader.directory)


@router.post("/api/v1/lots")
def begin_lot(services: Services, session: Quality, wanted: WantedLot) -> Sequence[MadeLot]:
    """Begin a lot from now on, or end the one that is made; return all as they are then."""
    _ask(services.reader.directory, wanted.lot, wanted.lane, session.user)
    return read_lots(services.reader.directory)


@router.post("/lots", include_in_schema=False)
def change_lot(services: Services, session: Quality, sent: SentFields) -> Response:
    """Do what the button says, and show the page again."""
    lot, lane = sent.get("lot", "").strip(), sent.get("lane", "").strip() or EVERYWHERE
    try:
        if not lot and sent.get("act") != "end":
            raise ConfigError("give the lot a name")
        _ask(services.reader.directory, "" if sent.get("act") == "end" else lot, lane, session.user)
    except ConfigError as exc:
        return _lots_page(services, session, str(exc), HTTPStatus.BAD_REQUEST)
    return RedirectResponse("/lots", HTTPStatus.SEE_OTHER)


def _ask(directory: Path, lot: str, lane: str, by: str) -> None:
    """Begin a lot, "" none.

    Raises:
        ConfigError: lot or lane is no id.
        RunError: it cannot be written.
    """
    ask_lot(directory, lot, Asked(by, DOOR), checked_id(lane, "lane"))


def read_lots(directory: Path) -> list[MadeLot]:
    """Return the newest lots, the newest first.

    Raises:
        RunError: they cannot be read.
    """
    with open_parts(directory) as connection:
        if connection is None:
            return []
        spans = distinct(lot_spans(read_lot_orders(connection)))[: -MOST_LOTS - 1 : -1]
        places = {(span.lot, span.lane) for span in spans}
        sums = {place: _sums(connection, *place) for place in places}
        return [_made(span, sums[span.lot, span.lane]) for span in spans]


def _sums(connection: sqlite3.Connection, lot: str, lane: str) -> tuple[int, int, int, int, int, int]:
    """Return a lot's parts, inspected, good, rejected and not inspected ones, and those found defective later."""
    wanted = PartsFilter(lot=lot, lane="" if lane == EVERYWHERE else lane)
    lanes, escaped = count_parts(connection, wanted), len(find_escapes(connection, wanted))
    inspected, passed = sum(one.inspected for one in lanes), sum(one.good for one in lanes)
    rejected, missed = sum(one.reject for one in lanes), sum(one.not_inspected for one in lanes)
    return inspected + missed, inspected, passed - escaped, rejected, missed, escaped


def _made(span: LotSpan, sums: tuple[int, int, int, int, int, int]) -> MadeLot:
    return MadeLot(span.lot, span.lane, span.since_utc, span.until_utc, *sums)


def _lots_page(services: Services, session: DeskSession, said: str = "", status: int = HTTPStatus.OK) -> HTMLResponse:
    directory = services.reader.directory
    with open_parts(directory) as connection:
        lanes = [] if connection is None else [lane for (lane,) in connection.execute(_LANES)]
        removed = RemovedParts() if connection is None else removed_parts(connection)
    return page(
        "lots.html",
        status,
        lots=read_lots(directory),
        lanes=lanes,
        removed=removed,
        may_change=session.role.includes(Role.QUALITY),
        said=said,
        most=MOST_LOTS,
    )
