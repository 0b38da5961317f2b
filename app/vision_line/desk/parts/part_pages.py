# SPDX-License-Identifier: AGPL-3.0-or-later
"""The parts that passed, newest first, and all that is known of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from fastapi import Path as InPath
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from vision_line.desk.boxes import each_box, present_boxes
from vision_line.desk.found.found_events import ChallengeChoice, FoundEvent, find_number, read_event
from vision_line.desk.known_choice import known_choice
from vision_line.desk.local_time import parse_local, plant_clock
from vision_line.desk.rendering import page
from vision_line.desk.services import DeskServices, Services
from vision_line.desk.time_choice import WantedTime, named_time
from vision_line.parts.part import PartVerdict
from vision_line.parts.passed import PAGE_ROWS, PartDetail, PartsFilter, PassedPart, find_parts, read_lanes, read_part
from vision_line.records.records import Records

router = APIRouter()

_Name = Annotated[str, Query(max_length=64)]
_Time = Annotated[str, Query(max_length=40, description="ISO 8601; the plant's clock where it has no offset.")]
Number = Annotated[int, InPath(ge=1, lt=2**63)]

_ARE_CHALLENGES = {ChallengeChoice.BOTH: None, ChallengeChoice.WITHOUT: False, ChallengeChoice.ONLY: True}


@dataclass(frozen=True, slots=True)
class PartsPage:
    """Parts, newest first; `next` is time and number behind which the next page begins, None on the last one."""

    parts: Sequence[PassedPart]
    next: tuple[float, int] | None


def parts_filter(
    lane: _Name = "",
    verdict: Annotated[str, Query(max_length=16, description=f"{', '.join(PartVerdict)}; empty is any.")] = "",
    lot: _Name = "",
    part_id: _Name = "",
    recipe: _Name = "",
    since: _Time = "",
    until: _Time = "",
    day: Annotated[str, Query(max_length=10, description="A day of the plant's clock; `since` does not count.")] = "",
    shift: Annotated[str, Query(max_length=80, description="As for `/api/v1/coverage`; `since` does not count.")] = "",
    challenges: ChallengeChoice = ChallengeChoice.BOTH,
) -> PartsFilter:
    """Return what a request searches; an empty field is any.

    Raises:
        ConfigError: a time is none, or no part has such a verdict.
    """
    named = named_time(WantedTime(day=day, shift=shift))
    begins, ends = (parse_local(text) if text else None for text in (since, until))
    if named is not None:
        begins, ends = named.since_utc, named.until_utc
    return PartsFilter(
        since_utc=begins,
        until_utc=ends,
        lane=lane.strip(),
        lot=lot.strip(),
        part_id=part_id.strip(),
        verdict=known_choice("verdict", verdict, PartVerdict),
        recipe=recipe.strip(),
        is_challenge=_ARE_CHALLENGES[challenges],
    )


def position(
    after_utc: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    after: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> tuple[float, int] | None:
    """Return where a page begins."""
    return None if after_utc is None or after is None else (after_utc, after)


Wanted = Annotated[PartsFilter, Depends(parts_filter)]
After = Annotated[tuple[float, int] | None, Depends(position)]


@router.get("/parts", include_in_schema=False)
def parts_page(services: Services, wanted: Wanted, after: After) -> HTMLResponse:
    """Show parts, newest first."""
    with services.reader.open_parts() as connection:
        found = _found(connection, wanted, after)
        lanes = [] if connection is None else [lane for _, own in each_box(connection) for lane in read_lanes(own)]
        removed = services.reader.removed_parts()
    title, day, shift = plant_clock().named(wanted.since_utc, wanted.until_utc)
    return page(
        "parts.html",
        found=found,
        wanted=wanted,
        lanes=lanes,
        verdicts=list(PartVerdict),
        challenges=_challenges(wanted),
        title=title,
        named=(day, shift),
        is_first=after is None,
        removed=removed if found.next is None and removed.meets(wanted.since_utc or 0.0, inf) else None,
        start=_address(wanted),
        older=None if found.next is None else _address(wanted, found.next),
    )


@router.get("/api/v1/parts")
def parts(services: Services, wanted: Wanted, after: After) -> PartsPage:
    """Return parts, newest first; `next` says what to give as `after_utc` and `after` for the next page."""
    with services.reader.open_parts() as connection:
        return _found(connection, wanted, after)


@router.get("/parts/{number}", include_in_schema=False)
def part_page(services: Services, number: Number) -> HTMLResponse:
    """Show one part with its windows, what each camera inspected of it, and the events that belong to it."""
    detail = part(services, number)
    return page("part.html", detail=detail, part=detail.part, body=detail.body, events=_events(services, detail))


@router.get("/api/v1/parts/{number}")
def part(services: Services, number: Number) -> PartDetail:
    """Return one part by its entry's number, with the entry and what was found later."""
    with services.reader.open_parts() as connection:
        found = None if connection is None else read_part(connection, number)
    if found is None:
        raise HTTPException(404, "there is no such part in these records")
    return found


def _found(connection: Records | None, wanted: PartsFilter, after: tuple[float, int] | None) -> PartsPage:
    found = [] if connection is None else find_parts(connection, wanted, after, PAGE_ROWS + 1)
    last = found[PAGE_ROWS - 1] if len(found) > PAGE_ROWS else None
    return PartsPage(found[:PAGE_ROWS], None if last is None else (last.triggered_utc, last.number))


def _events(services: DeskServices, detail: PartDetail) -> list[tuple[str, FoundEvent | None]]:
    """Return a part's events by their ids, None where the records have them no more."""
    if not detail.events:
        return []
    found: list[tuple[str, FoundEvent | None]] = []
    with services.reader.open() as connection:
        for event_id in detail.events:
            number = find_number(connection, detail.part.run_id, event_id)
            event = None if number is None else read_event(connection, number)
            found.append((event_id, None if event is None else event.event))
    return found


def _challenges(wanted: PartsFilter) -> ChallengeChoice:
    """Return which parts of challenges a request asked for."""
    return next(choice for choice, value in _ARE_CHALLENGES.items() if value is wanted.is_challenge)


def _address(wanted: PartsFilter, after: tuple[float, int] | None = None) -> str:
    """Return where the same search goes on."""
    named = ("lane", wanted.lane), ("verdict", wanted.verdict), ("lot", wanted.lot), ("part_id", wanted.part_id)
    more = ("recipe", wanted.recipe), ("challenges", str(_challenges(wanted)))
    times = ("since", wanted.since_utc), ("until", wanted.until_utc)
    asked: list[tuple[str, object]] = [(name, value) for name, value in (*named, *more) if value]
    asked += [(name, plant_clock().iso(utc)) for name, utc in times if utc is not None]
    asked += [] if after is None else [("after_utc", repr(after[0])), ("after", after[1])]
    asked += present_boxes().asked.items()
    return f"/parts?{urlencode(asked)}"
