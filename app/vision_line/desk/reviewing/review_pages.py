# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page on which people review, and its JSON: what comes next, what was answered, an answer, taking one back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from vision_line.challenges.challenge_windows import challenge_windows
from vision_line.desk.found.media_addresses import media_address
from vision_line.desk.local_time import ChosenTime, plant_clock
from vision_line.desk.rendering import page
from vision_line.desk.reviewing.review_turn import Queue, ReviewProgress, offered, progress_of, queue_of
from vision_line.desk.reviewing.shown_answers import ShownAnswer, answers_page
from vision_line.desk.services import Services, require
from vision_line.desk.time_choice import AskedTime, WantedTime, asked, choose_time, last_days
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.errors import ConfigError
from vision_line.records.records import Records
from vision_line.reviews.answer import LONGEST_NOTE, Answer, ItemKey, ItemKind, LineCall, ReviewedBox, ReviewVerdict
from vision_line.reviews.answer_journal import answer_numbered, append_answer, newest_of, people_by_item, withdraw
from vision_line.reviews.review_items import OF_CHALLENGE, LineBox, ReviewItem, find_item, row_items, rows_between
from vision_line.reviews.review_plan import place_of
from vision_line.reviews.reviews_file import FILE_NAME, reading, writing

router = APIRouter()

Reader = Annotated[DeskSession, Depends(require(Role.READER))]
Reviewer = Annotated[DeskSession, Depends(require(Role.REVIEWER))]
Number = Annotated[int, Query(ge=0, lt=2**63)]

#: What is reviewed where no time was chosen.
_DAYS = 7
_MOST_OFFERED = 20
_PAGE_ROWS = 200
#: A box that was drawn may end so many pixels outside of the image; it is cut there.
_BEYOND = 2.0
_FOLDERS = {ItemKind.EVENT: "events/{}/image", ItemKind.NEAR_MISS: "near_misses/{}", ItemKind.AUDIT: "audits/{}"}
_PAGES = {ItemKind.EVENT: "/events/{}", ItemKind.NEAR_MISS: "/near-misses/{}", ItemKind.AUDIT: "/audits/{}"}


@dataclass(frozen=True, slots=True)
class OfferedItem:
    """An item to review: image, what the line found in it, and the classes that there are."""

    key: str
    kind: ItemKind
    number: int
    camera: str
    station: str
    seen: str
    class_name: str
    verdict: str
    score: float | None
    boxes: Sequence[LineBox]
    classes: Sequence[str]
    width: int
    height: int
    image: str
    page: str
    stratum: str


@dataclass(frozen=True, slots=True)
class ReviewTurn:
    """What comes next for who asks, how far the queue is, and the number of their newest answer: it can be undone."""

    time: ChosenTime
    items: Sequence[OfferedItem]
    progress: ReviewProgress
    newest_answer: int | None
    may_answer: bool


class SentBox(BaseModel):
    """A true defect, in pixels of the stored image."""

    model_config = ConfigDict(extra="forbid")
    class_name: str = Field(alias="class", min_length=1, max_length=200)
    x1: float
    y1: float
    x2: float
    y2: float


class SentAnswer(BaseModel):
    """An answer as a program sends it. `boxes` null: not touched. `submission`: what is sent twice has the same."""

    model_config = ConfigDict(extra="forbid")
    item: str = Field(max_length=600)
    verdict: ReviewVerdict
    class_name: str | None = Field(None, alias="class", max_length=200)
    boxes: list[SentBox] | None = Field(None, max_length=200)
    note: str = Field("", max_length=LONGEST_NOTE)
    took_s: float = Field(0.0, ge=0, le=86_400, allow_inf_nan=False)
    submission: str = Field("", max_length=64)


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The number of an answer, which is that of its entry in the journal."""

    number: int


@dataclass(frozen=True, slots=True)
class TakenBack:
    """An item whose answer was taken back; `counted`: it had not been already. `item` None: its image is gone."""

    counted: bool
    item: OfferedItem | None


@router.get("/review", include_in_schema=False)
def review_page(services: Services, session: Reader, chosen: AskedTime) -> HTMLResponse:
    """Show what comes next."""
    with services.reader.open() as connection:
        time = review_time(connection, chosen)
    return page(
        "review.html",
        time=time,
        wanted=asked(time),
        may_answer=session.role.includes(Role.REVIEWER),
        is_kept=can_be_kept(services.reader.directory),
        longest_note=LONGEST_NOTE,
    )


@router.get("/api/v1/review/queue")
def review_turn(
    services: Services,
    session: Reader,
    chosen: AskedTime,
    behind: Annotated[str, Query(max_length=600, description="Offer what comes behind this item.")] = "",
    most: Annotated[int, Query(ge=0, le=_MOST_OFFERED)] = 6,
) -> ReviewTurn:
    """Return what comes next for who asks; for a reviewer it is kept from others for a while."""
    may_answer = session.role.includes(Role.REVIEWER)
    with services.reader.open() as connection:
        time = review_time(connection, chosen)
        queue = services.queues.get(time, lambda: _queue(connection, services.reader.directory, time))
    with reading(services.reader.directory) as reviews:
        answered = {} if reviews is None else people_by_item(reviews)
        newest = None if reviews is None else newest_of(reviews, session.user)

    def take(key: str) -> bool:
        return not may_answer or services.leases.take(key, session.user)

    rows = offered(queue, answered, session.user, behind, most, take)
    with services.reader.open() as connection:
        items = [_offered(item) for item in row_items(connection, rows) if not item.lacks]
    return ReviewTurn(
        time=time,
        items=items,
        progress=progress_of(queue, answered, session.user),
        newest_answer=newest,
        may_answer=may_answer,
    )


@router.get("/api/v1/review/answers")
def review_answers(services: Services, session: Reader, after: Number = 0) -> list[ShownAnswer]:
    """Return the answers that count, numbered above `after`, 200 at most; what is blind for who asks is hidden."""
    return answers_page(services.reader, session.user, after, _PAGE_ROWS)


@router.post("/api/v1/review/answers")
def give_answer(services: Services, session: Reviewer, sent: SentAnswer) -> KeptAnswer:
    """Keep an answer; the latest of a person for an item counts."""
    key = ItemKey.parse(sent.item)
    with services.reader.open() as connection:
        item = find_item(connection, key)
    if item is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such item in these records, or it goes on")
    if _is_of_challenge(services.reader.directory, item):
        raise ConfigError(f"this item is not up for review: it is {OF_CHALLENGE}")
    answer = _answer(sent, item, session.user)
    with writing(services.reader.directory) as connection:
        number = append_answer(connection, answer)
    services.leases.end(str(key))
    return KeptAnswer(number)


@router.post("/api/v1/review/answers/{number}/withdraw")
def take_back(services: Services, session: Reviewer, number: int) -> TakenBack:
    """Take one's own answer back: it stays in the journal and counts no more."""
    if not 0 <= number < 2**63:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such answer")
    with writing(services.reader.directory) as connection:
        counted = withdraw(connection, number, session.user)
        key = answer_numbered(connection, number)
    with services.reader.open() as connection:
        item = None if key is None else find_item(connection, key)
    return TakenBack(counted, None if item is None or item.lacks else _offered(item))


def review_time(connection: Records, chosen: WantedTime) -> ChosenTime:
    """Return the time that was asked for, else the newest days.

    Raises:
        ConfigError: it is none.
        Error: the database's, as it comes.
    """
    return last_days(connection, _DAYS) if chosen == WantedTime() else choose_time(connection, chosen)


def _queue(connection: Records, directory: Path, time: ChosenTime) -> Queue:
    """Return the queue of a time, without challenge parts, which it counts."""
    windows = challenge_windows(directory, time.since_utc, time.until_utc)
    return queue_of(rows_between(connection, time.since_utc, time.until_utc, windows.holds))


def _is_of_challenge(directory: Path, item: ReviewItem) -> bool:
    return challenge_windows(directory, item.seen_utc, item.seen_utc + 1.0).holds(item.camera, item.seen_utc)


def can_be_kept(directory: Path) -> bool:
    """Whether answers can be written: SQLite needs the folder too."""
    file = directory / FILE_NAME
    return os.access(directory, os.W_OK) and (not file.exists() or os.access(file, os.W_OK))


def image_address(item: ReviewItem) -> str:
    """Return where the untouched image of an item is."""
    return media_address(_FOLDERS[item.key.kind].format(item.number), item.sha256)


def _offered(item: ReviewItem) -> OfferedItem:
    place = place_of(item.candidate, item.probability)
    return OfferedItem(
        key=str(item.key),
        kind=item.key.kind,
        number=item.number,
        camera=item.camera,
        station=item.station,
        seen=plant_clock().moment(item.seen_utc),
        class_name=item.class_name,
        verdict=item.verdict,
        score=item.score,
        boxes=item.boxes,
        classes=item.classes,
        width=item.width,
        height=item.height,
        image=image_address(item),
        page=_PAGES[item.key.kind].format(item.number),
        stratum="" if place is None else place.stratum,
    )


def _answer(sent: SentAnswer, item: ReviewItem, person: str) -> Answer:
    """Return what was sent as an answer for `item`, which came to review.

    Raises:
        ConfigError: it did not, or the answer does not fit it.
    """
    place = place_of(item.candidate, item.probability)
    if item.lacks or place is None:
        raise ConfigError(f"this item is not up for review: {item.lacks or 'it was not drawn'}")
    boxes = None if sent.boxes is None else tuple(_box(one, item) for one in sent.boxes)
    for name in filter(None, (sent.class_name, *(box.class_name for box in boxes or ()))):
        if name not in {*item.classes, item.class_name}:
            raise ConfigError(f"class: expected one of {', '.join(item.classes)}, found {name!r}")
    if item.key.kind is ItemKind.AUDIT and boxes is None:
        boxes = _of_audit(sent.verdict, item)
    elif sent.verdict is ReviewVerdict.CONFIRMED and boxes is not None:
        _check_confirmed(item, boxes)
    return Answer(
        item=item.key,
        person=person,
        verdict=sent.verdict,
        class_name=sent.class_name,
        boxes=boxes,
        note=sent.note,
        took_s=sent.took_s,
        stratum=place.stratum,
        inclusion=place.inclusion,
        call=LineCall(item.verdict, item.class_name, item.score, item.thresholds.warn, item.thresholds.reject),
        submission=sent.submission,
    ).checked()


def _check_confirmed(item: ReviewItem, boxes: Sequence[ReviewedBox]) -> None:
    """Raise ConfigError where boxes say something else than that the item is confirmed."""
    if item.key.kind is not ItemKind.AUDIT:
        if not boxes:
            raise ConfigError(
                "boxes: a defect that is confirmed has one; mark it, or send none at all to keep the line's"
            )
        return
    found = sorted((box.class_name, box.x1, box.y1, box.x2, box.y2) for box in item.boxes)
    if found != sorted((box.class_name, box.x1, box.y1, box.x2, box.y2) for box in boxes):
        raise ConfigError("boxes: others than the line found, so the line is not right: overrule it")


def _of_audit(verdict: ReviewVerdict, item: ReviewItem) -> tuple[ReviewedBox, ...] | None:
    """Return the true defects of an audited frame of which none were sent: what the line found, if that is right.

    Raises:
        ConfigError: it is not right, and nobody said what is.
    """
    match verdict:
        case ReviewVerdict.CONFIRMED:
            return tuple(ReviewedBox(box.class_name, box.x1, box.y1, box.x2, box.y2) for box in item.boxes)
        case ReviewVerdict.OVERRULED:
            raise ConfigError("boxes: an audited frame is overruled with the true defects in it, or with an empty list")
    return None


def _box(sent: SentBox, item: ReviewItem) -> ReviewedBox:
    """Return a box cut at the edges of the image.

    Raises:
        ConfigError: it lies outside.
    """
    if not (sent.x1 >= -_BEYOND and sent.x2 <= item.width + _BEYOND):
        raise ConfigError("boxes: outside of the image")
    if not (sent.y1 >= -_BEYOND and sent.y2 <= item.height + _BEYOND):
        raise ConfigError("boxes: outside of the image")
    x1, y1 = max(sent.x1, 0.0), max(sent.y1, 0.0)
    return ReviewedBox(sent.class_name, x1, y1, min(sent.x2, item.width), min(sent.y2, item.height))
