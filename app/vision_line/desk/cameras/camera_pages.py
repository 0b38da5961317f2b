# SPDX-License-Identifier: AGPL-3.0-or-later
"""All cameras, and one camera: when it was inspected, its states, its gaps, and what became of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse

from vision_line.desk.boxes import of_camera, present_boxes
from vision_line.desk.cameras.camera_history import (
    MOST_STATES,
    CameraStateChange,
    FrameCounts,
    KnownCamera,
    read_cameras,
    read_frames,
    read_states,
)
from vision_line.desk.cameras.recipe_pages import read_state
from vision_line.desk.inspected.coverage_bar import BarPart, axis, read_bars
from vision_line.desk.inspected.inspected_time import CameraTime, read_inspected_time
from vision_line.desk.local_time import ChosenTime
from vision_line.desk.rendering import page
from vision_line.desk.services import DeskServices, Services, require
from vision_line.desk.time_choice import AskedTime, WantedTime, bounded, choose_time, neighbours
from vision_line.desk.users.sessions import DeskSession, Role

router = APIRouter()

#: What is shown before and after a gap that somebody asks for, in seconds.
_AROUND_S = 300.0

Reader = Annotated[DeskSession, Depends(require(Role.READER))]
_Moment = Annotated[float | None, Query(allow_inf_nan=False, description="Seconds since the Unix epoch, of a gap.")]


@dataclass(frozen=True, slots=True)
class CameraPage:
    """A camera in a time; `inspected` is None where no run had it."""

    camera: KnownCamera
    time: ChosenTime
    inspected: CameraTime | None
    share: float | None
    bar: Sequence[BarPart]
    frames: FrameCounts
    states: Sequence[CameraStateChange]


@router.get("/cameras", include_in_schema=False)
def cameras_page(services: Services, session: Reader) -> HTMLResponse:
    """Show all cameras with their last state, and the recipe in force."""
    may_change = session.role.includes(Role.QUALITY)
    recipes = None if present_boxes().is_central else read_state(services)
    return page("cameras.html", cameras=cameras(services), recipes=recipes, may_change=may_change)


@router.get("/api/v1/cameras")
def cameras(services: Services) -> Sequence[KnownCamera]:
    """Return all cameras with their last state."""
    with services.reader.open() as connection:
        return read_cameras(connection)


@router.get("/cameras/{name}", include_in_schema=False)
def camera_page(
    services: Services, name: str, wanted: AskedTime, at: _Moment = None, to: _Moment = None
) -> HTMLResponse:
    """Show one camera, or what was around a gap of it."""
    around = None if at is None else bounded(ChosenTime(at - _AROUND_S, (at if to is None else to) + _AROUND_S))
    shown = _read(services, name, wanted, around)
    before, after = neighbours(shown.time)
    return page(
        "camera.html",
        shown=shown,
        time=shown.time,
        marks=axis(shown.time),
        before=before,
        after=after,
        is_cut=len(shown.states) == MOST_STATES,
    )


@router.get("/api/v1/cameras/{name}")
def camera(services: Services, name: str, wanted: AskedTime) -> CameraPage:
    """Return one camera in a time: inspected time, gaps, states, frames by what became of them."""
    return _read(services, name, wanted, None)


def _read(services: DeskServices, name: str, wanted: WantedTime, around: ChosenTime | None) -> CameraPage:
    with of_camera(name), services.reader.open() as connection:
        known = next(iter(read_cameras(connection, name)), None)
        if known is None:
            raise HTTPException(404, "there is no such camera in these records")
        time = around or choose_time(connection, wanted)
        inspected = next(iter(read_inspected_time(connection, time, name)), None)
        gaps = () if inspected is None else inspected.gaps
        return CameraPage(
            camera=known,
            time=time,
            inspected=inspected,
            share=None if inspected is None else inspected.covered.share,
            bar=read_bars(connection, time, gaps, (name,)).get(name, []),
            frames=read_frames(connection, name, time),
            states=read_states(connection, name, time),
        )
