# SPDX-License-Identifier: AGPL-3.0-or-later
"""Near misses and audits as lists and one by one: image, what the line found in it, row, and what people said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from vision_line.desk.rendering import page
from vision_line.desk.reviewing.review_pages import image_address
from vision_line.desk.reviewing.shown_answers import ShownAnswer, answers_for
from vision_line.desk.services import Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.reviews.answer import ItemKind
from vision_line.reviews.review_items import LineBox, ReviewItem, newest_items, row_items

router = APIRouter()

Reader = Annotated[DeskSession, Depends(require(Role.READER))]

PAGE_ROWS = 50
_NAMES = {ItemKind.NEAR_MISS: "near-misses", ItemKind.AUDIT: "audits"}
_TABLES = {ItemKind.NEAR_MISS: ("near_misses", "near_miss"), ItemKind.AUDIT: ("audits", "audit")}


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """A near miss or an audit; `lacks` says why there is no image, "" where it is. Boxes are pixels of the image."""

    key: str
    number: int
    camera: str
    station: str
    seen_utc: float
    class_name: str
    score: float | None
    probability: float
    width: int
    height: int
    lacks: str
    image: str
    boxes: Sequence[LineBox]
    answers: Sequence[ShownAnswer]


@dataclass(frozen=True, slots=True)
class FramePosition:
    """The frame behind which a page begins."""

    seen_utc: float = 9e15
    number: int = 2**62


@dataclass(frozen=True, slots=True)
class KeptFrames:
    """A page of them, newest first; `next` is where the next one begins, None at the end."""

    frames: Sequence[KeptFrame]
    next: FramePosition | None


def frame_position(
    after_utc: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    after: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> FramePosition:
    """Return where a page begins."""
    return FramePosition() if after_utc is None or after is None else FramePosition(after_utc, after)


After = Annotated[FramePosition, Depends(frame_position)]


@router.get("/near-misses", include_in_schema=False)
def near_misses_page(services: Services, session: Reader, after: After) -> HTMLResponse:
    """Show near misses, newest first."""
    return _list_page(ItemKind.NEAR_MISS, near_misses(services, session, after), after)


@router.get("/audits", include_in_schema=False)
def audits_page(services: Services, session: Reader, after: After) -> HTMLResponse:
    """Show audited frames, newest first."""
    return _list_page(ItemKind.AUDIT, audits(services, session, after), after)


@router.get("/api/v1/near-misses")
def near_misses(services: Services, session: Reader, after: After) -> KeptFrames:
    """Return near misses, newest first."""
    return _frames(services, session, ItemKind.NEAR_MISS, after)


@router.get("/api/v1/audits")
def audits(services: Services, session: Reader, after: After) -> KeptFrames:
    """Return audited frames, newest first."""
    return _frames(services, session, ItemKind.AUDIT, after)


@router.get("/near-misses/{number}", include_in_schema=False)
def one_near_miss(services: Services, session: Reader, number: int) -> HTMLResponse:
    """Show one near miss with its row."""
    return _one_page(services, session, ItemKind.NEAR_MISS, number)


@router.get("/audits/{number}", include_in_schema=False)
def one_audit(services: Services, session: Reader, number: int) -> HTMLResponse:
    """Show one audited frame with its row."""
    return _one_page(services, session, ItemKind.AUDIT, number)


def _frames(services: Services, session: DeskSession, kind: ItemKind, after: FramePosition) -> KeptFrames:
    with services.reader.open() as connection:
        items = newest_items(connection, kind, (after.seen_utc, after.number), PAGE_ROWS)
    answers = answers_for(services.reader, session.user, [str(item.key) for item in items])
    last = items[-1] if len(items) == PAGE_ROWS else None
    return KeptFrames(
        [_frame(item, answers) for item in items], None if last is None else FramePosition(last.seen_utc, last.number)
    )


def _frame(item: ReviewItem, answers: Mapping[str, Sequence[ShownAnswer]]) -> KeptFrame:
    return KeptFrame(
        key=str(item.key),
        number=item.number,
        camera=item.camera,
        station=item.station,
        seen_utc=item.seen_utc,
        class_name=item.class_name,
        score=item.score,
        probability=item.probability,
        width=item.width,
        height=item.height,
        lacks=item.lacks,
        image=image_address(item),
        boxes=item.boxes,
        answers=answers.get(str(item.key), []),
    )


def _list_page(kind: ItemKind, found: KeptFrames, after: FramePosition) -> HTMLResponse:
    return page("kept_frames.html", name=_NAMES[kind], found=found, is_first=after == FramePosition())


def _one_page(services: Services, session: DeskSession, kind: ItemKind, number: int) -> HTMLResponse:
    table, column = _TABLES[kind]
    with services.reader.open() as connection:
        item = next(row_items(connection, [(kind, number)]), None) if 0 <= number < 2**63 else None
        if item is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such row in these records")
        sql = f"SELECT * FROM {table} WHERE {column} = ?"  # noqa: S608  names, of this file
        row = dict(connection.execute(sql, (number,)).fetchone())
    answers = answers_for(services.reader, session.user, [str(item.key)])
    return page("kept_frame.html", name=_NAMES[kind], frame=_frame(item, answers), row=row)
