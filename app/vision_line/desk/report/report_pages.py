# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report from the desk: the same file as `vision-line report` writes, and the same with links to pages."""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from vision_line.desk.cases.record_check import FRESH_S, CheckedRecord
from vision_line.desk.local_time import ChosenTime, plant_clock
from vision_line.desk.rendering import page
from vision_line.desk.report.document import document
from vision_line.desk.report.journal_proof import JournalCheck
from vision_line.desk.report.period import WantedPeriod
from vision_line.desk.report.shift_report import ShiftReport, read_report
from vision_line.desk.services import DeskServices, Services
from vision_line.desk.time_choice import LAST, AskedTime, WantedTime, asked, choose_time, neighbours

router = APIRouter(include_in_schema=False)

Lot = Annotated[str, Query(max_length=64)]

#: Rejects with an image, as the command has it where nobody asks otherwise.
MOST_IMAGES = 60
#: More reports at once would take the processor from the other pages, and waiting for one their threads.
_MOST_AT_ONCE = 2
#: When to ask again, in seconds.
_AGAIN_S = 10
_places = threading.BoundedSemaphore(_MOST_AT_ONCE)
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


@router.get("/report")
def report_page(services: Services, wanted: AskedTime) -> HTMLResponse:
    """Ask which time the report is to be about: at first the last whole shift."""
    chosen = _chosen(services, wanted)
    before, after = neighbours(chosen)
    state = services.record_check.state
    return page(
        "report_choice.html",
        time=chosen,
        asked=asked(chosen),
        before=before,
        after=after,
        state=state,
        checked=state.fresh(time.time()),
        fresh_s=FRESH_S,
        begun=chosen.since_utc < time.time(),
    )


@router.post("/report/check")
def check_record(services: Services, wanted: AskedTime) -> Response:
    """Begin to check the record, which the report says of it then."""
    services.record_check.start()
    return RedirectResponse(f"/report?{urlencode(asked(_chosen(services, wanted)))}", HTTPStatus.SEE_OTHER)


@router.get("/report/open")
def open_report(services: Services, wanted: AskedTime, lot: Lot = "") -> HTMLResponse:
    """Show the report of a time or a lot, with links to the pages of its figures."""
    text = document(_report(services, wanted, lot), in_desk=True)
    return HTMLResponse(text, headers={"Content-Security-Policy": _policy(text)})


@router.get("/report/file")
def report_file(services: Services, wanted: AskedTime, lot: Lot = "") -> Response:
    """Send the report of a time or a lot as the command writes it."""
    report = _report(services, wanted, lot)
    headers = {"Content-Disposition": f'attachment; filename="{_name(report)}"'}
    return Response(document(report), headers=headers, media_type="text/html; charset=utf-8")


def _report(services: DeskServices, wanted: WantedTime, lot: str) -> ShiftReport:
    period, now_utc = WantedPeriod(lot=lot) if lot else _period(_chosen(services, wanted)), time.time()
    check = checked_journal(services.record_check.state.fresh(now_utc))
    with _place():
        return read_report(services.reader.directory, period, now_utc, MOST_IMAGES, check)


def _chosen(services: DeskServices, wanted: WantedTime) -> ChosenTime:
    """Return the time that was asked for: where none was, the last whole shift, or the newest hours without shifts."""
    if wanted == WantedTime() and plant_clock().shifts is not None:
        wanted = WantedTime(shift=LAST)
    with services.reader.open() as connection:
        return choose_time(connection, wanted)


def _period(chosen: ChosenTime) -> WantedPeriod:
    """Return what one would ask the command for: a shift by its name, another time with the offset of its clock."""
    return WantedPeriod(**asked(chosen))


def checked_journal(checked: CheckedRecord | None) -> JournalCheck | None:
    """Return what a report says of a check of the whole record, None: none was made lately."""
    return None if checked is None else JournalCheck(checked.holds, checked.said)


@contextmanager
def _place() -> Iterator[None]:
    """Hold one of the places in which reports are made; HTTPException: others have them all."""
    if not _places.acquire(blocking=False):
        raise HTTPException(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "too many reports are being made: try again in a minute",
            {"Retry-After": str(_AGAIN_S)},
        )
    try:
        yield
    finally:
        _places.release()


def _policy(text: str) -> str:
    """Return what the page may do: have its own style, named by its hash, and the images that are in it."""
    styles = (base64.b64encode(sha256(style.encode()).digest()).decode() for style in _STYLE.findall(text))
    sources = " ".join(f"'sha256-{digest}'" for digest in styles)
    return (
        f"default-src 'none'; img-src data:; style-src {sources}; frame-ancestors 'none'; form-action 'none';"
        " base-uri 'none'"
    )


def _name(report: ShiftReport) -> str:
    period = report.period
    if period.lot is not None:
        return f"report-lot-{re.sub(r'[^A-Za-z0-9]+', '-', period.lot.lot)}.html"
    what = period.shift.key if period.shift else period.clock.field_text(period.time.since_utc)
    return f"report-{re.sub(r'[^A-Za-z0-9]+', '-', what)}.html"
