# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the limits of a p chart come from: an approved baseline with its age, or this data, which nobody approved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.desk.charts.baselines import NOW_UTC
from vision_line.desk.charts.line_state import LineState, changes_since, read_line_state
from vision_line.parts.lot_cameras import lane_cameras
from vision_line.quality import Spread, spread_of
from vision_line.records.records import Records
from vision_line.reviews import part_baseline_entries
from vision_line.reviews.part_baseline_entries import ApprovedPartBaseline, PartScope
from vision_line.reviews.reviews_file import reading

PartBaselines = Mapping[PartScope, ApprovedPartBaseline]


@dataclass(frozen=True, slots=True)
class PartBaselineInUse:
    """An approved baseline, its age now, and in plain words what has changed since it was made."""

    approved: ApprovedPartBaseline
    age_s: float
    changes: Sequence[str]

    @property
    def spread(self) -> Spread:
        """Whether its limits are Laney's."""
        return spread_of(self.approved.baseline.limits)


def read_part_baselines(directory: Path) -> PartBaselines:
    """Return the baselines in force.

    Raises:
        RunError: the file of the reviews cannot be read.
    """
    with reading(directory) as connection:
        return {} if connection is None else part_baseline_entries.in_force(connection)


def read_lane_state(parts: Records, records: Records, lane: str, utc: float = NOW_UTC) -> LineState:
    """Return which model and settings a lane's cameras had at a moment, or have.

    Raises:
        Error: the database's, as it comes.
    """
    cameras = lane_cameras(parts, lane, utc)
    return read_line_state(records, lambda camera, _station: camera in cameras, utc)


def in_use(parts: Records, records: Records, approved: ApprovedPartBaseline, now_utc: float) -> PartBaselineInUse:
    """Return a baseline with what has changed in the records since.

    Raises:
        Error: the database's, as it comes.
    """
    lane = approved.scope.lane
    then, now = (read_lane_state(parts, records, lane, utc) for utc in (approved.baseline.last_utc, NOW_UTC))
    changes = changes_since(then, now, (approved.model_sha256, approved.settings_sha256))
    return PartBaselineInUse(approved, approved.baseline.age_s(now_utc), changes)


def watched(baselines: PartBaselines) -> list[ApprovedPartBaseline]:
    """Return one baseline for each lane and recipe that has any: of several periods the newest approved."""
    newest: dict[PartScope, ApprovedPartBaseline] = {}
    for one in sorted(baselines.values(), key=lambda one: one.number):
        newest[one.scope.watched] = one
    return sorted(newest.values(), key=lambda one: one.scope.words)
