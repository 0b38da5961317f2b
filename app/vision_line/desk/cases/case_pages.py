# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cases as pages: made of what is selected, changed by entries, and handed over as one archive."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from vision_line.desk.cases.case_contents import read_contents
from vision_line.desk.cases.case_zip import archive, archive_name
from vision_line.desk.cases.event_lookup import events_by_number, events_of_filter, numbers_by_key
from vision_line.desk.found.found_events import FoundEvent, read_events
from vision_line.desk.found.gallery import Wanted
from vision_line.desk.rendering import page
from vision_line.desk.sent_fields import Fields, SentFields
from vision_line.desk.services import DeskServices, Services, require
from vision_line.desk.users.sessions import DeskSession, Role
from vision_line.errors import ConfigError
from vision_line.reviews.cases import LONGEST_NAME, LONGEST_NOTE, Case, CaseEvent, Cases, EventKey

router = APIRouter()

Reader = Annotated[DeskSession, Depends(require(Role.READER))]
Reviewer = Annotated[DeskSession, Depends(require(Role.REVIEWER))]
Number = Annotated[int, Path(ge=1, lt=2**31)]


@dataclass(frozen=True, slots=True)
class CaseInBrief:
    """A case as a list has it."""

    number: int
    name: str
    note: str
    by: str
    made_utc: float
    changed_utc: float
    is_open: bool
    events: int


@dataclass(frozen=True, slots=True)
class CaseDetail:
    """A case with the row of each of its events in their order, null where the row was removed from the records."""

    case: Case
    rows: Sequence[FoundEvent | None]


@router.get("/cases", include_in_schema=False)
def cases_page(services: Services) -> HTMLResponse:
    """Show all cases."""
    return page("cases.html", cases=cases(services))


@router.get("/api/v1/cases")
def cases(services: Services) -> list[CaseInBrief]:
    """Return all cases, the newest first."""
    return [_brief(case) for case in Cases(services.reader.directory).all()]


@router.get("/cases/{number}", include_in_schema=False)
def case_page(services: Services, session: Reader, number: Number) -> HTMLResponse:
    """Show one case."""
    detail = _detail(services, number)
    return page(
        "case.html",
        case=detail.case,
        events=list(zip(detail.case.events, detail.rows, strict=True)),
        may_change=session.role.includes(Role.REVIEWER),
        longest_name=LONGEST_NAME,
        longest_note=LONGEST_NOTE,
    )


@router.get("/api/v1/cases/{number}")
def case_detail(services: Services, number: Number) -> CaseDetail:
    """Return one case with what was changed of it, and the rows of its events."""
    return _detail(services, number)


@router.post("/cases", include_in_schema=False)
def put_selected(services: Services, session: Reviewer, fields: SentFields) -> Response:
    """Put the events that were selected in a new case, or in one that is open."""
    numbers = _numbers(fields)
    if not numbers:
        raise ConfigError("select one event or more, or all that the filter finds")
    with services.reader.open() as connection:
        events = events_by_number(connection, numbers)
    return _put(services, session, fields, events)


@router.post("/cases/all", include_in_schema=False)
def put_all(services: Services, session: Reviewer, wanted: Wanted, fields: SentFields) -> Response:
    """Put all events that a filter finds in a case."""
    with services.reader.open() as connection:
        events = events_of_filter(connection, wanted)
    return _put(services, session, fields, events)


@router.post("/cases/{number}/remove", include_in_schema=False)
def remove_events(services: Services, session: Reviewer, number: Number, fields: SentFields) -> Response:
    """Take the events that were selected out of a case."""
    keys = [EventKey(*text.partition("/")[::2]) for text in fields.getlist("event")]
    Cases(services.reader.directory).remove(number, keys, by=session.user)
    return _to(number)


@router.post("/cases/{number}/describe", include_in_schema=False)
def describe(services: Services, session: Reviewer, number: Number, fields: SentFields) -> Response:
    """Give a case another name and note."""
    name, note = fields.get("name", ""), fields.get("note", "")
    Cases(services.reader.directory).describe(number, name, note, by=session.user)
    return _to(number)


@router.post("/cases/{number}/close", include_in_schema=False)
def close(services: Services, session: Reviewer, number: Number) -> Response:
    """Close a case."""
    Cases(services.reader.directory).close(number, by=session.user)
    return _to(number)


@router.post("/cases/{number}/reopen", include_in_schema=False)
def reopen(services: Services, session: Reviewer, number: Number) -> Response:
    """Open a case again."""
    Cases(services.reader.directory).reopen(number, by=session.user)
    return _to(number)


@router.post("/cases/{number}/check", include_in_schema=False)
def check_record(services: Services, number: Number) -> Response:
    """Begin to check the record, which the archive says of it."""
    _case(services, number)
    services.record_check.start()
    return RedirectResponse(f"/cases/{number}/export", HTTPStatus.SEE_OTHER)


@router.get("/cases/{number}/export", include_in_schema=False)
def export_page(services: Services, number: Number) -> HTMLResponse:
    """Show how far the check is, then what it found with a link to the archive."""
    state = services.record_check.state
    case = _case(services, number)
    return page("case_export.html", case=case, state=state, checked=state.fresh(time.time()))


@router.get("/cases/{number}/archive.zip", include_in_schema=False)
def download(services: Services, session: Reader, number: Number) -> Response:
    """Send a case as one archive, with what the check of the record found."""
    case, now_utc = _case(services, number), time.time()
    checked = services.record_check.state.fresh(now_utc)
    if checked is None:
        return RedirectResponse(f"/cases/{number}/export", HTTPStatus.SEE_OTHER)
    with services.reader.open() as connection:
        contents = read_contents(connection, services.reader.directory, case, now_utc, session.user)
    headers = {"Content-Disposition": f'attachment; filename="{archive_name(number)}.zip"'}
    return StreamingResponse(archive(contents, checked), headers=headers, media_type="application/zip")


def _put(services: DeskServices, session: DeskSession, fields: Fields, events: Sequence[CaseEvent]) -> Response:
    stored, chosen = Cases(services.reader.directory), fields.get("case", "")
    if chosen.isdecimal():
        number = int(chosen[:9])
        stored.add(number, events, by=session.user)
    else:
        number = stored.make(fields.get("name", ""), fields.get("note", ""), events, by=session.user)
    return _to(number)


def _to(number: int) -> Response:
    return RedirectResponse(f"/cases/{number}", HTTPStatus.SEE_OTHER)


def _case(services: DeskServices, number: int) -> Case:
    case = Cases(services.reader.directory).find(number)
    if case is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no case {number}")
    return case


def _numbers(fields: Fields) -> list[int]:
    """Return the events that were selected."""
    texts = fields.getlist("event")
    if not all(text.isascii() and text.isdecimal() and len(text) < 19 for text in texts):
        raise ConfigError("expected the numbers of events")
    return list(dict.fromkeys(map(int, texts)))


def _detail(services: DeskServices, number: int) -> CaseDetail:
    case = _case(services, number)
    with services.reader.open() as connection:
        numbers = numbers_by_key(connection, [event.key for event in case.events])
        rows = {row.event: row for row in read_events(connection, list(numbers.values()))}
    return CaseDetail(case, [rows.get(numbers.get(event.key, -1)) for event in case.events])


def _brief(case: Case) -> CaseInBrief:
    own = (case.number, case.name, case.note, case.by, case.made_utc, case.changed_utc, case.is_open)
    return CaseInBrief(*own, len(case.events))
