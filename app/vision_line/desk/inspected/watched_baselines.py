# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long each approved baseline's cameras and lanes have found nothing, for the run that writes the records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vision_line.desk.charts.baselines import read_baselines
from vision_line.desk.charts.silences import read_silences
from vision_line.desk.part_charts.part_baselines import read_part_baselines
from vision_line.desk.part_charts.part_silences import read_part_silences
from vision_line.desk.record_reader import RecordReader
from vision_line.telemetry.baseline_watch import WatchedBaseline

#: How long the records may be asked, in seconds: nobody waits for the answer.
_LIMIT_S = 60.0


def read_watched_baselines(directory: Path) -> list[WatchedBaseline]:
    """Return all that are watched, as the first page of the desk has them; without a baseline hardly anything is read.

    Raises:
        RunError: the records, the parts or the reviews cannot be read, or that takes too long.
    """
    return [*_of_events(directory), *_of_parts(directory)]


def _of_events(directory: Path) -> Iterator[WatchedBaseline]:
    if baselines := read_baselines(directory):
        with RecordReader(directory, _LIMIT_S).open() as connection:
            for one in read_silences(connection, baselines).watched:
                yield WatchedBaseline(one.name, one.shortage.expected, one.is_called)


def _of_parts(directory: Path) -> Iterator[WatchedBaseline]:
    if baselines := read_part_baselines(directory):
        for one in read_part_silences(directory, baselines).watched:
            yield WatchedBaseline(one.name, one.shortage.expected, one.is_called)
