# SPDX-License-Identifier: AGPL-3.0-or-later
"""Suspiciously low: inspected time since the last event, against the rate of an approved baseline.

It is the alarm for a blind model, a moved lamp, a changed product. What was not inspected is no silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vision_line.desk.charts.baselines import Baselines, watched
from vision_line.desk.charts.rate_chart import HOUR_S
from vision_line.desk.charts.rate_series import inspected_s, read_last_events
from vision_line.desk.inspected.opportunity import read_opportunity
from vision_line.desk.local_time import ChosenTime
from vision_line.quality import EventShortage, event_shortage, expected_false_silences
from vision_line.records.columns import Table
from vision_line.records.known_rows import known_since_utc
from vision_line.records.records import Records
from vision_line.reviews.baseline_entries import ApprovedBaseline, ChartScope

#: Of an average month.
HOURS_A_MONTH = 730.5

#: Of the last run of each machine: the clock of one before may have been ahead.
_NEWEST = """SELECT max(coalesce(r.ended_utc, r.alive_utc, r.started_utc)) FROM runs r
    WHERE NOT EXISTS (SELECT 1 FROM runs n WHERE n.host = r.host AND n.run > r.run)"""


@dataclass(frozen=True, slots=True)
class Silence:
    """What a baseline's cameras found last. `last_utc`: when; None: the records have nothing since the baseline.

    Silent `since_utc`: from then on, or since the records have all their rows.
    """

    scope: ChartScope
    name: str
    rate_per_h: float
    last_utc: float | None
    since_utc: float
    inspected_s: float
    shortage: EventShortage
    is_called: bool
    false_a_month: float
    entry: int


@dataclass(frozen=True, slots=True)
class SilenceWatch:
    """All that are watched; `false_a_month` alarms are expected of them where nothing changes."""

    until_utc: float
    watched: Sequence[Silence]
    false_a_month: float

    @property
    def called(self) -> list[Silence]:
        """The suspicious ones, the least likely first."""
        return sorted((one for one in self.watched if one.is_called), key=lambda one: one.shortage.probability)


def read_silences(connection: Records, baselines: Baselines, until_utc: float | None = None) -> SilenceWatch:
    """Return how long each baseline's cameras have found nothing, until a moment or else the newest records.

    Raises:
        Error: the database's, as it comes.
    """
    newest_utc = connection.execute(_NEWEST).fetchone()[0] or 0.0
    until_utc = newest_utc if until_utc is None else min(until_utc, newest_utc)
    approved = [one for one in watched(baselines) if one.baseline.last_utc < until_utc]
    seen = read_last_events(connection, {one.scope: one.baseline.first_utc for one in approved}, until_utc)
    lasts = [seen.get(one.scope) for one in approved]
    known_utc = known_since_utc(connection, Table.EVENTS, Table.NOT_INSPECTED)
    begins = [max(last or one.baseline.last_utc, known_utc) for one, last in zip(approved, lasts, strict=True)]
    time = ChosenTime(min(begins, default=until_utc), until_utc)
    opportunity = read_opportunity(connection, time) if approved else None
    found = []
    for one, last, since_utc in zip(approved, lasts, begins, strict=True):
        assert opportunity is not None  # noqa: S101  there is one to watch
        (silent_s,) = inspected_s(opportunity, one.scope, np.array([since_utc, until_utc])).tolist()
        found.append(_silence(one, last, since_utc, silent_s))
    return SilenceWatch(until_utc, found, sum(one.false_a_month for one in found))


def _silence(of: ApprovedBaseline, last: float | None, since_utc: float, silent_s: float) -> Silence:
    rate = of.baseline.limits.center
    shortage = event_shortage(0, rate, silent_s / HOUR_S)
    return Silence(
        scope=of.scope,
        name=of.scope.words,
        rate_per_h=rate,
        last_utc=last,
        since_utc=since_utc,
        inspected_s=silent_s,
        shortage=shortage,
        is_called=shortage.suspicious,
        false_a_month=expected_false_silences(rate, of.inspected_share * HOURS_A_MONTH),
        entry=of.number,
    )
