# SPDX-License-Identifier: AGPL-3.0-or-later
"""The first page of the desk of all boxes: what needs somebody where, and what was inspected, by box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time as clock_now
from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from vision_line.desk.boxes import each_box, present_boxes
from vision_line.desk.central.box_addresses import BoxAddress
from vision_line.desk.central.central_source import CentralSource
from vision_line.desk.central.not_counted import read_not_counted
from vision_line.desk.central.plant_boxes import PlantBox, other_clocks, read_boxes_of, read_statuses
from vision_line.desk.central.plant_overview import MOST_BARS, PlantOverview, read_plant_overview
from vision_line.desk.inspected.coverage_bar import axis, column_s, read_bars
from vision_line.desk.inspected.shift_parts import CameraCoverage
from vision_line.desk.local_time import ChosenTime, plant_clock
from vision_line.desk.rendering import page
from vision_line.desk.report.passed_parts import find_escapes
from vision_line.desk.report.unseen_parts import UnseenPart, find_unseen
from vision_line.desk.services import DeskServices, Services
from vision_line.desk.time_choice import AskedTime, asked, choose_time, neighbours
from vision_line.parts.passed import PartsFilter, count_parts
from vision_line.records.records import Records
from vision_line.telemetry.covered import together

router = APIRouter()


@dataclass(frozen=True, slots=True)
class BoxState:
    """A box for programs: how far its records are here (`known_utc`), and what needs somebody there, in words."""

    name: str
    desk: str | None
    is_silent: bool
    silent_s: float
    known_utc: float | None
    entries_lost: int
    clock_offset_s: float
    is_inspecting: bool
    alarms: Sequence[str]


@router.get("/", include_in_schema=False)
def plant(services: Services, request: Request, wanted: AskedTime) -> HTMLResponse:
    """Show what needs somebody now and where, and what each box inspected."""
    source, statuses = _source(services), read_statuses(_source(services).url)
    with source.open() as records:
        time = choose_time(records, wanted)
        not_counted = read_not_counted(records, time)
        boxes = read_boxes_of(records, statuses, _addresses(request), time, clock_now())
        cameras = sum(len(one.cameras) for one in boxes)
        bars = _bars(records, boxes, time) if cameras <= MOST_BARS or present_boxes().box else None
    total = together(one.total for one in boxes)
    before, after = neighbours(time)
    of_time = PartsFilter(time.since_utc, time.until_utc)
    with source.open_parts() as parts:
        lanes, escapes = count_parts(parts, of_time), find_escapes(parts, of_time)
        unseen = _unseen(parts, boxes, of_time)
    return page(
        "plant.html",
        boxes=boxes,
        bars_of=bars,
        time=time,
        asked=asked(time) | present_boxes().asked,
        asked_time=asked(time),
        before=before | present_boxes().asked,
        after=after | present_boxes().asked,
        total=total,
        lanes=lanes,
        escapes=escapes,
        unseen=unseen,
        share=total.share,
        not_counted=not_counted,
        unknown=[one for one in boxes if one.known.unknown_s > 0],
        other_clocks=other_clocks(boxes, plant_clock()),
        cameras=cameras,
        most=MOST_BARS,
        grain=column_s(time),
        axis=axis,
    )


@router.get("/api/v1/boxes")
def boxes(services: Services, request: Request) -> list[BoxState]:
    """Return each box: how far its records have come, and what needs somebody there."""
    source, now_utc = _source(services), clock_now()
    time = ChosenTime(now_utc - 60.0, now_utc)
    statuses = read_statuses(source.url)
    with source.open() as records:
        return [_state(one) for one in read_boxes_of(records, statuses, _addresses(request), time, now_utc)]


@router.get("/api/v1/coverage")
def coverage(services: Services, wanted: AskedTime) -> PlantOverview:
    """Return what was inspected and what was not, by camera, with gaps and bars, and what of each box is known."""
    statuses = read_statuses(_source(services).url)
    with services.reader.open() as records:
        return read_plant_overview(records, statuses, choose_time(records, wanted), clock_now())


def _bars(records: Records, boxes: Sequence[PlantBox], time: ChosenTime) -> dict[str, list[CameraCoverage]]:
    """Return the bars of each box's cameras."""
    bars = read_bars(records, time, [gap for box in boxes for one in box.cameras for gap in one.gaps])
    return {
        box.name: [CameraCoverage(one, one.covered.share, bars.get(one.camera, [])) for one in box.cameras]
        for box in boxes
    }


def _unseen(parts: Records, boxes: Sequence[PlantBox], wanted: PartsFilter) -> list[UnseenPart]:
    """Return the parts of all boxes that passed unseen, the oldest first; a box's gaps are sought in its own parts."""
    gaps = {box.name: [gap for one in box.cameras for gap in one.gaps] for box in boxes}
    found = [part for name, own in each_box(parts) for part in find_unseen(own, wanted, gaps.get(name, ()))]
    return sorted(found, key=lambda part: part.triggered_utc)


def _state(box: PlantBox) -> BoxState:
    return BoxState(
        name=box.name,
        desk=box.desk,
        is_silent=box.status.is_silent,
        silent_s=box.status.silent_s,
        known_utc=box.known.until_utc,
        entries_lost=box.status.lost,
        clock_offset_s=box.status.clock_offset_s,
        is_inspecting=box.is_fine,
        alarms=[" ".join([*one.cameras, one.words]) for one in box.alarms],
    )


def _source(services: DeskServices) -> CentralSource:
    return cast("CentralSource", services.reader)


def _addresses(request: Request) -> Mapping[str, BoxAddress]:
    return cast("Mapping[str, BoxAddress]", request.app.state.addresses)
