# SPDX-License-Identifier: AGPL-3.0-or-later
"""Suspiciously low: inspected parts since the last rejected one, against the share of an approved baseline.

A part that was not inspected is no silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.desk.charts.silences import HOURS_A_MONTH
from vision_line.desk.part_charts.part_baselines import PartBaselines, watched
from vision_line.desk.record_reader import RecordReader
from vision_line.parts.part import PartVerdict
from vision_line.parts.parts_removal import removed_parts
from vision_line.parts.passed import PartsFilter, count_parts, last_part
from vision_line.quality import EventShortage, expected_false_reject_silences, reject_shortage
from vision_line.records.records import Records
from vision_line.reviews.part_baseline_entries import ApprovedPartBaseline, PartScope

_HOUR_S = 3600.0
_NEWEST = "SELECT triggered_utc FROM parts ORDER BY number DESC LIMIT 1"
#: Later than a part that came at this moment, by less than two parts are apart.
_BEHIND_S = 1e-6


@dataclass(frozen=True, slots=True)
class PartSilence:
    """What a baseline's lane rejected last. `last_utc`: when; None: the parts have nothing since the baseline.

    Silent `since_utc`: from then on, or since all parts are there.
    """

    scope: PartScope
    name: str
    share: float
    last_utc: float | None
    since_utc: float
    inspected: int
    shortage: EventShortage
    is_called: bool
    false_a_month: float
    entry: int


@dataclass(frozen=True, slots=True)
class PartSilenceWatch:
    """All that are watched; `false_a_month` alarms are expected of them where nothing changes."""

    until_utc: float
    watched: Sequence[PartSilence]
    false_a_month: float

    @property
    def called(self) -> list[PartSilence]:
        """The suspicious ones, the least likely first."""
        return sorted((one for one in self.watched if one.is_called), key=lambda one: one.shortage.probability)


def read_part_silences(directory: Path, baselines: PartBaselines, until_utc: float | None = None) -> PartSilenceWatch:
    """Return how many parts each baseline's lane inspected and rejected none, until a moment or else the newest part.

    Raises:
        RunError: the parts cannot be read.
    """
    with RecordReader(directory).open_parts() as connection:
        row = None if connection is None else connection.execute(_NEWEST).fetchone()
        if connection is None or row is None:
            return PartSilenceWatch(until_utc or 0.0, (), 0.0)
        ends_utc = row[0] + _BEHIND_S if until_utc is None else min(until_utc, row[0] + _BEHIND_S)
        known_utc = max(0.0, removed_parts(connection).to_utc)
        approved = [one for one in watched(baselines) if one.baseline.last_utc < ends_utc]
        found = [_silence(connection, one, known_utc, ends_utc) for one in approved]
    return PartSilenceWatch(ends_utc, found, sum(one.false_a_month for one in found))


def _silence(connection: Records, of: ApprovedPartBaseline, known_utc: float, ends_utc: float) -> PartSilence:
    share, scope = of.baseline.limits.center, of.scope
    wanted = PartsFilter(
        of.baseline.first_utc, ends_utc, lane=scope.lane, recipe=scope.recipe, verdict=PartVerdict.REJECT
    )
    last_utc = last_part(connection, wanted)
    since_utc = max(of.baseline.last_utc if last_utc is None else last_utc + _BEHIND_S, known_utc)
    counts = count_parts(connection, PartsFilter(since_utc, ends_utc, lane=scope.lane, recipe=scope.recipe))
    inspected = sum(one.inspected for one in counts)
    shortage = reject_shortage(0, share, inspected)
    return PartSilence(
        scope=scope,
        name=scope.words,
        share=share,
        last_utc=last_utc,
        since_utc=since_utc,
        inspected=inspected,
        shortage=shortage,
        is_called=shortage.suspicious,
        false_a_month=expected_false_reject_silences(share, of.parts_per_s * HOURS_A_MONTH * _HOUR_S),
        entry=of.number,
    )
