# SPDX-License-Identifier: AGPL-3.0-or-later
"""What reviews show of the line in a time: a page, and its JSON."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from vision_line.challenges.challenge_windows import challenge_windows
from vision_line.desk.figures.figure_geometry import HEIGHT, WIDTH, curve_geometry, trend_geometry
from vision_line.desk.figures.periods import periods_of
from vision_line.desk.local_time import ChosenTime, PlantClock, plant_clock
from vision_line.desk.rendering import page
from vision_line.desk.services import Services
from vision_line.desk.time_choice import AskedTime, WantedTime, choose_time, neighbours
from vision_line.records.records import Records
from vision_line.reviews.figures.review_figures import ReviewFigures, review_figures
from vision_line.reviews.figures.reviewed_time import read_reviewed_time
from vision_line.reviews.reviews_file import reading

router = APIRouter()

#: What is shown where no time was chosen: reviews of one shift are hardly ever enough for a figure.
_LAST_S = 7 * 86_400.0


def read_figures(connection: Records, directory: Path, time: ChosenTime, clock: PlantClock) -> ReviewFigures:
    """Return the figures of a time, without challenge parts.

    Raises:
        RunError: `reviews.sqlite` cannot be read.
        Error: the database's, as it comes.
    """
    windows = challenge_windows(directory, time.since_utc, time.until_utc)
    with reading(directory) as reviews:
        reviewed = read_reviewed_time(connection, reviews, time.since_utc, time.until_utc, windows.holds)
    return review_figures(reviewed, periods_of(time, clock))


@router.get("/figures", include_in_schema=False)
def figures_page(services: Services, wanted: AskedTime) -> HTMLResponse:
    """Show the figures."""
    with services.reader.open() as connection:
        time = _time(connection, wanted)
        figures = read_figures(connection, services.reader.directory, time, plant_clock())
    before, after = neighbours(time)
    return page(
        "figures.html",
        time=time,
        before=before,
        after=after,
        figures=figures,
        curve=curve_geometry(figures.what_if),
        trends=trend_geometry(figures.models, time),
        truths=sorted({cell.truth for cell in figures.confusion}, key=lambda name: (name == "no defect", name)),
        lines=sorted({cell.line for cell in figures.confusion}, key=lambda name: (name == "not called", name)),
        cells={(cell.line, cell.truth): cell for cell in figures.confusion},
        width=WIDTH,
        height=HEIGHT,
    )


@router.get("/api/v1/figures")
def figures_json(services: Services, wanted: AskedTime) -> ReviewFigures:
    """Return what reviews show: each figure with its 95 % interval, or with the reason why there is none."""
    with services.reader.open() as connection:
        time = _time(connection, wanted)
        return read_figures(connection, services.reader.directory, time, plant_clock())


def _time(connection: Records, wanted: WantedTime) -> ChosenTime:
    """Return the time that was asked for, the newest week where none was."""
    time = choose_time(connection, wanted)
    return ChosenTime(time.until_utc - _LAST_S, time.until_utc) if wanted == WantedTime() else time
