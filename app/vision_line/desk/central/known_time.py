# SPDX-License-Identifier: AGPL-3.0-or-later
"""Of which part of a time a box's records are here: each box's since, and up to, a moment of its own."""

from __future__ import annotations

from dataclasses import dataclass

from vision_line.central.plant_status import NodeStatus
from vision_line.desk.inspected.attention import LastRun
from vision_line.desk.local_time import ChosenTime
from vision_line.records.columns import Table
from vision_line.records.known_rows import known_since_utc
from vision_line.records.records import Records


@dataclass(frozen=True, slots=True)
class KnownTime:
    """What came before `since_utc` was removed, 0: nothing was; of what came after `until_utc` nothing is here yet.

    None: nothing has come. `unknown_s` of a time, of one camera, are not known for these reasons: they are in no share.
    """

    since_utc: float
    until_utc: float | None
    unknown_s: float


def read_known_time(
    connection: Records, status: NodeStatus, run: LastRun | None, time: ChosenTime, now_utc: float
) -> KnownTime:
    """Return it of one box; what a box that sends its records has not sent yet is not counted as unknown.

    Raises:
        Error: the database's, as it comes.
    """
    since_utc, until_utc = known_since_utc(connection, Table.NOT_INSPECTED), _until_utc(status, run)
    past = ChosenTime(time.since_utc, max(time.since_utc, min(time.until_utc, now_utc)))
    known = ChosenTime(since_utc, (until_utc or 0.0) if status.is_silent else now_utc)
    return KnownTime(since_utc, until_utc, past.length_s - past.clipped_s(known.since_utc, known.until_utc))


def _until_utc(status: NodeStatus, run: LastRun | None) -> float | None:
    """Return up to when a box's records are here: of a run that goes on up to its last sign of life that came."""
    shipped = status.journals.get("records")
    moments = [one for one in (shipped and shipped.at_utc, run and run.known_utc) if one]
    return max(moments, default=None)
