# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line reviews figures`: what reviews show of the line, in words or as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import typer

from vision_line.challenges.challenge_windows import challenge_windows
from vision_line.desk.figures.periods import periods_of
from vision_line.desk.local_time import ChosenTime, PlantClock
from vision_line.desk.recorded_clock import clock_of
from vision_line.errors import ConfigError
from vision_line.quality import BoundedFigure, Refused
from vision_line.records.query import parse_moment
from vision_line.records.schema import FILE_NAME, no_records, open_reader, translated
from vision_line.reviews.figures.review_figures import ReviewFigures, review_figures
from vision_line.reviews.figures.reviewed_time import read_reviewed_time
from vision_line.reviews.reviews_file import reading


def show_figures(record: Path, since: str | None, until: str | None, *, as_json: bool) -> None:
    """Print the figures of [since, until); without `since` of the 7 days before.

    Raises:
        ConfigError: there are no records, or a moment is none.
        VisionLineError: the records or reviews cannot be read.
    """
    if not (record / FILE_NAME).is_file():
        raise ConfigError(no_records(record, "--record"))
    now_utc = time.time()
    until_utc = now_utc if until is None else parse_moment(until, now_utc)
    chosen = ChosenTime(until_utc - 7 * 86_400.0 if since is None else parse_moment(since, now_utc), until_utc)
    if chosen.length_s <= 0:
        raise ConfigError("--since: no moment is at or after it and before --until")
    with translated(record / FILE_NAME, "reading"), closing(open_reader(record)) as rows, reading(record) as reviews:
        rows.execute("BEGIN")  # one state of the file
        clock = clock_of(rows)
        windows = challenge_windows(record, chosen.since_utc, chosen.until_utc)
        found = read_reviewed_time(rows, reviews, chosen.since_utc, chosen.until_utc, windows.holds)
    figures = review_figures(found, periods_of(chosen, clock))
    if as_json:
        typer.echo(json.dumps(asdict(figures), ensure_ascii=False, indent=1))
        return
    typer.echo(clock.span(chosen))
    for line in _lines(figures, clock):
        typer.echo(line)


def _lines(figures: ReviewFigures, clock: PlantClock) -> Iterator[str]:
    counts, estimates = figures.counts, figures.estimates
    yield f"{counts.reviewed} of {counts.items} items reviewed; {counts.inspected_frames} frames inspected"
    if counts.known_since_utc:
        yield f"records from before {clock.moment(counts.known_since_utc)} were removed: that time is in no figure"
    if counts.challenge_items:
        yield f"{counts.challenge_items} items of challenge parts are left out"
    if counts.second_due:
        yield f"{counts.second_due} items were answered once and count when a second person has answered, blindly"
    yield f"precision            {_share(estimates.precision)}"
    yield f"recall               {_share(estimates.recall)}"
    yield f"escapes per million  {_number(estimates.escapes_per_million)}"
    yield f"false calls          {_number(estimates.false_calls)}"
    yield f"agreement (kappa)    {_number(figures.agreement.kappa)}"
    for cell in figures.confusion:
        yield f"the line said {cell.line}, true is {cell.truth}: {cell.estimated:.1f} ({cell.reviewed} reviewed)"
    for model in figures.models:
        yield f"model {model.name} {model.sha256[:12]}: precision {_share(model.estimates.precision)}"
    for period in figures.periods:
        yield (
            f"false rejects from {clock.moment(period.since_utc)}: {_number(period.false_rejects)}"
            f" of {period.rejects} rejects"
        )
    if figures.what_if.refused:
        yield f"another threshold: {figures.what_if.refused}"


def _share(figure: BoundedFigure | Refused) -> str:
    if isinstance(figure, Refused):
        return f"none: {figure.reason}"
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f} %)"


def _number(figure: BoundedFigure | Refused) -> str:
    if isinstance(figure, Refused):
        return f"none: {figure.reason}"
    return f"{figure.value:.3g} ({figure.low:.3g} to {figure.high:.3g})"
