# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the limits of a chart come from: an approved baseline with its age, or this data, which nobody approved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.desk.charts.line_state import cameras_of, changes_since, read_line_state
from vision_line.quality import Spread, spread_of
from vision_line.records.records import Records
from vision_line.reviews import baseline_entries
from vision_line.reviews.baseline_entries import ApprovedBaseline, ChartScope
from vision_line.reviews.reviews_file import reading

Baselines = Mapping[ChartScope, ApprovedBaseline]

#: Later than any moment of records.
NOW_UTC = 9e15


@dataclass(frozen=True, slots=True)
class BaselineInUse:
    """An approved baseline, its age now, and in plain words what has changed since it was made."""

    approved: ApprovedBaseline
    age_s: float
    changes: Sequence[str]

    @property
    def spread(self) -> Spread:
        """Whether its limits are Laney's."""
        return spread_of(self.approved.baseline.limits)


def read_baselines(directory: Path) -> Baselines:
    """Return the baselines in force.

    Raises:
        RunError: the file of the reviews cannot be read.
    """
    with reading(directory) as connection:
        return {} if connection is None else baseline_entries.in_force(connection)


def in_use(connection: Records, approved: ApprovedBaseline, now_utc: float) -> BaselineInUse:
    """Return a baseline with what has changed in the records since.

    Raises:
        Error: the database's, as it comes.
    """
    is_of = cameras_of(approved.scope)
    then = read_line_state(connection, is_of, approved.baseline.last_utc)
    now = read_line_state(connection, is_of, NOW_UTC)
    changes = changes_since(then, now, (approved.model_sha256, approved.settings_sha256))
    return BaselineInUse(approved, approved.baseline.age_s(now_utc), changes)


def watched(baselines: Baselines) -> list[ApprovedBaseline]:
    """Return one baseline for each camera, station and class that has any: of several periods the newest approved."""
    newest: dict[ChartScope, ApprovedBaseline] = {}
    for one in sorted(baselines.values(), key=lambda one: one.number):
        newest[one.scope.watched] = one
    return sorted(newest.values(), key=lambda one: one.scope.words)
