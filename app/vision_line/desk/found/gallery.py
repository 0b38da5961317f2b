# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was found: events with their images, and one event with all that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vision_line.desk.boxes import each_box, present_boxes
from vision_line.desk.found.found_events import (
    OVERRULED,
    REVIEWED,
    ChallengeChoice,
    EventDetail,
    EventFilter,
    EventsPage,
    FoundEvent,
    Position,
    challenged_events,
    find_events,
    find_number,
    read_beside,
    read_choices,
    read_event,
)
from vision_line.desk.known_choice import known_choice
from vision_line.desk.local_time import parse_local, plant_clock
from vision_line.desk.rendering import page
from vision_line.desk.reviewing.shown_answers import answers_for, overruled_keys
from vision_line.desk.services import DeskServices, Services, require
from vision_line.desk.time_choice import WantedTime, named_time
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.frames import Verdict
from vision_line.parts.lot_rows import LotRows, merged, read_lot_rows
from vision_line.parts.passed import PassedPart, parts_of_event, read_part
from vision_line.records.query import Selection
from vision_line.records.records import Records
from vision_line.reviews.cases import Case, Cases

router = APIRouter()

Reader = Annotated[DeskSession, Depends(require(Role.READER))]
_Name = Annotated[str, Query(max_length=200)]
_Names = Annotated[list[str], Query(max_length=64)]
_Time = Annotated[str, Query(max_length=40, description="ISO 8601; the plant's clock where it has no offset.")]
#: SQLite's numbers have 64 bits.
Number = Annotated[int, Query(ge=0, lt=2**63)]


def event_filter(
    services: Services,
    session: Reader,
    camera: _Names = [],  # noqa: B006  FastAPI copies it
    station: _Names = [],  # noqa: B006  the same
    class_: Annotated[list[str], Query(alias="class", max_length=64)] = [],  # noqa: B006  the same
    verdict: Annotated[list[str], Query(max_length=8)] = [],  # noqa: B006  the same
    since: _Time = "",
    until: _Time = "",
    day: Annotated[str, Query(max_length=10, description="A day of the plant's clock; `since` does not count.")] = "",
    shift: Annotated[str, Query(max_length=80, description="As for `/api/v1/coverage`; `since` does not count.")] = "",
    reviewed: Annotated[str, Query(max_length=12, description=f"{', '.join(REVIEWED)}; empty is any.")] = "",
    challenges: ChallengeChoice = ChallengeChoice.BOTH,
    lot: Annotated[
        str, Query(max_length=64, description="Of this lot's parts, or of none and seen while it was made.")
    ] = "",
) -> EventFilter:
    """Return what a request searches; an empty field is any.

    Raises:
        ConfigError: a time is none, or a verdict or a filter of reviews is not known.
    """
    named = named_time(WantedTime(day=day, shift=shift))
    begins, ends = (parse_local(text) if text else None for text in (since, until))
    selection = Selection(
        since_utc=begins if named is None else named.since_utc,
        until_utc=ends if named is None else named.until_utc,
        cameras=tuple(filter(None, camera)),
        classes=tuple(filter(None, class_)),
        verdicts=tuple(Verdict(known_choice("verdict", one, Verdict)) for one in filter(None, verdict)),
    )
    keys: set[str] = set()
    if known_choice("reviewed", reviewed, REVIEWED):
        answered, overruled = overruled_keys(services.reader, session.user)
        keys = overruled if reviewed == OVERRULED else answered
    lot = lot.strip()
    return EventFilter(
        selection,
        station_names=tuple(filter(None, station)),
        reviewed=reviewed,
        reviewed_keys=keys,
        challenges=challenges,
        lot=lot,
        lot_rows=_lot_rows(services, lot) if lot else LotRows(),
    )


def _lot_rows(services: DeskServices, lot: str) -> LotRows:
    """Return what the events of a lot are known by."""
    with services.reader.open_parts() as parts:
        if parts is None:
            return LotRows()
        with services.reader.open() as records:
            each = zip(each_box(parts), each_box(records), strict=True)
            return merged(_lot_rows_of_box(own_parts, own, lot) for (_, own_parts), (_, own) in each)


def _lot_rows_of_box(parts: Records, records: Records, lot: str) -> LotRows:
    """Return the same of one box: among others, what was ordered everywhere is of its own cameras alone."""
    found = read_lot_rows(parts, records, lot)
    boxes = present_boxes()
    if not found.times or boxes.box or not boxes.is_central:
        return found
    cameras = tuple(read_choices(records).cameras)
    times = tuple(replace(one, cameras=cameras) if one.cameras is None else one for one in found.times)
    return replace(found, times=times)


def position(
    after_utc: Annotated[float | None, Query(allow_inf_nan=False)] = None, after: Number | None = None
) -> Position:
    """Return where a page begins."""
    return Position() if after_utc is None or after is None else Position(after_utc, after)


Wanted = Annotated[EventFilter, Depends(event_filter)]
After = Annotated[Position, Depends(position)]


@router.get("/events", include_in_schema=False)
def gallery(services: Services, session: Reader, wanted: Wanted, after: After) -> HTMLResponse:
    """Show events, newest first."""
    with services.reader.open() as connection:
        found = find_events(connection, wanted, after)
        choices = read_choices(connection)
    answers = answers_for(services.reader, session.user, [event.key for event in found.events])
    title, *named = plant_clock().named(wanted.selection.since_utc, wanted.selection.until_utc)
    older = None if found.next is None else _address(wanted, found.next)
    return page(
        "gallery.html",
        found=found,
        answers=answers,
        reviewed_choices=list(REVIEWED),
        in_challenges=_in_challenges(services, found.events),
        choices=choices,
        wanted=wanted,
        older=older,
        is_first=after == Position(),
        start=_address(wanted),
        anytime=_address(replace(wanted, selection=replace(wanted.selection, since_utc=None, until_utc=None))),
        title=title,
        named=named,
        within=_within(wanted),
        open_cases=_open_cases(services, session),
    )


@router.get("/api/v1/events")
def events(services: Services, wanted: Wanted, after: After) -> EventsPage:
    """Return events, newest first; `next` says where the next page begins."""
    with services.reader.open() as connection:
        return find_events(connection, wanted, after)


@router.get("/events/by-id", include_in_schema=False)
def lasting_address(services: Services, run: _Name, event: _Name) -> Response:
    """Lead to the page of an event: by this address it is found as long as its row is in the records."""
    with services.reader.open() as connection:
        number = find_number(connection, run, event)
    if number is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "this event is not in these records, or was removed from them")
    return RedirectResponse(f"/events/{number}", HTTPStatus.SEE_OTHER)


@router.get("/events/{event}", include_in_schema=False)
def one_event(services: Services, session: Reader, event: int, wanted: Wanted, within: bool = False) -> HTMLResponse:
    """Show one event; `within`: where it stands among those that a search finds."""
    detail = event_detail(services, event)
    key = detail.event.key
    earlier, later = next(iter(detail.earlier), None), next(iter(detail.later), None)
    if within:
        with services.reader.open() as connection:
            earlier, later = read_beside(connection, wanted, detail.event)
    return page(
        "event.html",
        detail=detail,
        answers=answers_for(services.reader, session.user, [key]).get(key, []),
        is_challenge=bool(_in_challenges(services, [detail.event])),
        earlier=earlier,
        later=later,
        within=_within(wanted) if within else "",
        back=_address(wanted) if within else "",
        parts=_parts(services, detail.event),
        lasting=f"/events/by-id?{urlencode({'run': str(detail.run['run_id']), 'event': detail.event.event_id})}",
        open_cases=_open_cases(services, session),
    )


@router.get("/api/v1/events/{event}")
def event_detail(services: Services, event: int) -> EventDetail:
    """Return one event with its settings, clips, neighbours in time and place in the journal."""
    with services.reader.open() as connection:
        detail = read_event(connection, event) if 0 <= event < 2**63 else None
    if detail is None:
        raise HTTPException(404, "there is no such event in these records")
    return detail


def _parts(services: DeskServices, event: FoundEvent) -> list[PassedPart]:
    """Return the parts that an event belongs to."""
    with services.reader.open_parts() as connection:
        if connection is None:
            return []
        numbers = parts_of_event(connection, event.run_id, event.event_id)
        return [detail.part for number in numbers if (detail := read_part(connection, number)) is not None]


def _in_challenges(services: Services, events: Sequence[FoundEvent]) -> set[int]:
    """Return the numbers of those events that are of challenge parts."""
    with services.reader.open() as connection:
        return challenged_events(connection, [event.event for event in events])


def _open_cases(services: DeskServices, session: DeskSession) -> list[Case] | None:
    """Return the cases in which events can be put, None for who may not."""
    if present_boxes().is_central or not session.role.includes(Role.REVIEWER):
        return None
    return [case for case in Cases(services.reader.directory).all() if case.is_open]


def _within(wanted: EventFilter) -> str:
    """Return what the address of an event's page has behind it to go on in this search."""
    return "?within=true&" + _address(wanted).partition("?")[2]


def _address(wanted: EventFilter, after: Position | None = None) -> str:
    """Return where the same search goes on."""
    chosen = wanted.selection
    asked: list[tuple[str, object]] = [("camera", name) for name in chosen.cameras]
    asked += [("station", name) for name in wanted.station_names]
    asked += [("class", name) for name in chosen.classes]
    asked += [("verdict", str(verdict)) for verdict in chosen.verdicts]
    asked += [("reviewed", wanted.reviewed)] if wanted.reviewed else []
    asked += [
        (name, plant_clock().iso(utc))
        for name, utc in (("since", chosen.since_utc), ("until", chosen.until_utc))
        if utc is not None
    ]
    asked += [("lot", wanted.lot)] if wanted.lot else []
    asked += present_boxes().asked.items()
    if wanted.challenges:
        asked.append(("challenges", str(wanted.challenges)))
    if after is not None:
        asked += [("after_utc", repr(after.first_seen_utc)), ("after", after.event)]
    return f"/events?{urlencode(asked)}"
