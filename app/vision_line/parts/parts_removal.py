# SPDX-License-Identifier: AGPL-3.0-or-later
"""Old parts go, the oldest first, with their events, corrections and entries; the journal says how many of which lanes.

Orders of lots and recipes stay, all of them: which one was in force when stays true for every part that is kept.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import TypedDict

from vision_line.errors import BrokenRecordError
from vision_line.parts.orders import LOT, RECIPE
from vision_line.parts.parts_file import FILE_NAME
from vision_line.records.formats import iso_utc
from vision_line.records.records import Records
from vision_line.records.side_removal import SideAnchor, read_anchor, remove_through

#: The oldest entry that is young, and then the newest old one before it. One "from later than now" bears a clock that
#: was wrong: it is as old as what is behind it.
_FIRST_YOUNG = """SELECT number FROM journal WHERE number > ? AND number <= ? AND at_utc BETWEEN ? AND ?
    ORDER BY number LIMIT 1"""
_LAST_OLD = "SELECT number FROM journal WHERE number > ? AND number < ? AND at_utc < ? ORDER BY number DESC LIMIT 1"
#: What a clock labelled that was ahead says nothing of when the others were.
_GOING = """SELECT lane, count(*), min(sequence), max(sequence),
    min(triggered_utc) FILTER (WHERE triggered_utc <= ?1), max(triggered_utc) FILTER (WHERE triggered_utc <= ?1)
    FROM parts WHERE number <= ?2 GROUP BY lane"""
_ROWS = ("DELETE FROM part_events WHERE number <= ?", "DELETE FROM parts WHERE number <= ?")


@dataclass(frozen=True, slots=True)
class RemovedLane:
    """How many parts of a lane were removed so far, their lowest and their highest number."""

    parts: int = 0
    first: int = 0
    last: int = 0

    def and_also(self, other: RemovedLane) -> RemovedLane:
        """Return both together; this one may be of nothing."""
        first = min(self.first, other.first) if self.parts else other.first
        return RemovedLane(self.parts + other.parts, first, max(self.last, other.last))


@dataclass(frozen=True, slots=True)
class RemovedParts:
    """All that was removed so far: the parts up to entry `through`, by lane, and when they were triggered.

    From `inf` to `-inf`: none were, or all by a clock that was ahead.
    """

    through: int = 0
    lanes: Mapping[str, RemovedLane] = field(default_factory=dict, hash=False)
    from_utc: float = inf
    to_utc: float = -inf

    @property
    def parts(self) -> int:
        """Those of all lanes."""
        return sum(lane.parts for lane in self.lanes.values())

    @property
    def is_dated(self) -> bool:
        """Whether it is known when they were triggered."""
        return self.from_utc <= self.to_utc

    def meets(self, since_utc: float, until_utc: float) -> bool:
        """Whether parts of that time may have been removed; of some it is not known when they passed."""
        return self.parts > 0 and (not self.is_dated or (self.from_utc <= until_utc and self.to_utc >= since_utc))

    @property
    def span(self) -> str:
        """When they were triggered, in words."""
        if not self.is_dated:
            return "a time that is not known (their clock was ahead)"
        return f"{iso_utc(self.from_utc)} to {iso_utc(self.to_utc)}"

    def and_also(self, later: RemovedParts) -> RemovedParts:
        """Return both together."""
        lanes = {lane: self.lanes.get(lane, RemovedLane()).and_also(one) for lane, one in later.lanes.items()}
        return RemovedParts(
            later.through,
            {**self.lanes, **lanes},
            min(self.from_utc, later.from_utc),
            max(self.to_utc, later.to_utc),
        )


_SaidLane = TypedDict("_SaidLane", {"parts": int, "from": int, "to": int})


class _Said(TypedDict):
    """What the entry of a removal says of all that was removed so far."""

    lanes: dict[str, _SaidLane]
    from_utc: float | None
    to_utc: float | None


def removed_parts(connection: Records) -> RemovedParts:
    """Return what was removed so far.

    Raises:
        BrokenRecordError: the entry that should say so does not.
        sqlite3.Error: as it comes.
    """
    try:
        anchor = read_anchor(connection)
        return _removed(anchor) if anchor.entry else RemovedParts()
    except (ValueError, LookupError, TypeError, AttributeError) as exc:
        raise BrokenRecordError(f"{FILE_NAME}: its newest removal does not say what was removed: {exc}") from exc


def _removed(anchor: SideAnchor) -> RemovedParts:
    said: _Said = json.loads(anchor.body)
    lanes = {lane: RemovedLane(one["parts"], one["from"], one["to"]) for lane, one in said["lanes"].items()}
    from_utc, to_utc = said["from_utc"], said["to_utc"]
    times = (inf, -inf) if from_utc is None or to_utc is None else (from_utc, to_utc)
    return RemovedParts(anchor.through, lanes, *times)


def last_old(connection: sqlite3.Connection, cutoff_utc: float, now_utc: float, entries: int) -> int | None:
    """Return the last entry of those that may go: entered before `cutoff_utc`, behind them nothing that is older.

    At most so many of the oldest `entries` are looked at. None: nothing is old.

    Raises:
        BrokenRecordError, sqlite3.Error: as `removed_parts`.
    """
    begins = removed_parts(connection).through
    ends = begins + entries
    young = connection.execute(_FIRST_YOUNG, (begins, ends, cutoff_utc, now_utc)).fetchone()
    old = connection.execute(_LAST_OLD, (begins, ends + 1 if young is None else young[0], cutoff_utc)).fetchone()
    return None if old is None else int(old[0])


def parts_until(connection: sqlite3.Connection, through: int) -> RemovedParts:
    """Return the parts that are there up to entry `through`: those that `remove_parts` would remove.

    Raises:
        sqlite3.Error: as it comes.
    """
    found = connection.execute(_GOING, (time.time(), through)).fetchall()
    return RemovedParts(
        through,
        {lane: RemovedLane(parts, first, last) for lane, parts, first, last, _, _ in found},
        min((row[4] for row in found if row[4] is not None), default=inf),
        max((row[5] for row in found if row[5] is not None), default=-inf),
    )


def remove_parts(connection: sqlite3.Connection, through: int, why: str) -> RemovedParts:
    """Remove the parts up to entry `through`, and enter that; return them. To be called in a transaction.

    Raises:
        BrokenRecordError: what would go is not what was written: it stays, to be found.
        sqlite3.Error: as it comes.
    """
    before, going = removed_parts(connection), parts_until(connection, through)
    said = {**_said(before.and_also(going)), "removed_from": "parts", "rows": going.parts, "why": why}
    remove_through(connection, through, {LOT, RECIPE}, said)
    for sql in _ROWS:
        connection.execute(sql, (through,))
    return going


def _said(removed: RemovedParts) -> _Said:
    return {
        "lanes": {lane: {"parts": one.parts, "from": one.first, "to": one.last} for lane, one in removed.lanes.items()},
        "from_utc": removed.from_utc if removed.is_dated else None,
        "to_utc": removed.to_utc if removed.is_dated else None,
    }
