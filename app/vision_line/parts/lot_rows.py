# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which rows of the records are of a lot: one definition for whoever searches events and for exports.

An event is of the lots of the parts that it belongs to. One that belongs to no part, or whose part was removed, is of
the lot that was made at its camera when it was first seen. So is whatever else a camera has: minutes, gaps, near
misses and audits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vision_line.parts.lot_cameras import LotCameras, read_lot_cameras
from vision_line.records.columns import Table
from vision_line.records.query import RowCondition
from vision_line.records.records import Records

#: From when to when a row is. A minute that lies in a lot's time for a part is of the lot, and so is an interval.
_WHEN = {
    Table.EVENTS: ("t.first_seen_utc", ""),
    Table.COVERAGE: ("t.minute_utc", "t.minute_utc + 60"),
    Table.NOT_INSPECTED: ("t.started_utc", "coalesce(t.ended_utc, 9e15)"),
    Table.NEAR_MISSES: ("t.first_seen_utc", ""),
    Table.AUDITS: ("t.arrived_utc", ""),
}
#: Tables of the records that have rows of a lot.
OF_LOTS = frozenset(_WHEN)

_OWN = """SELECT DISTINCT e.run_id, e.event_id FROM parts p JOIN part_events e ON e.number = p.number
    WHERE p.lot <> '' AND p.lot = ?"""
#: By events, of which there are few, and then their parts: a lot has very many.
_OTHERS = """SELECT DISTINCT e.run_id, e.event_id FROM part_events e CROSS JOIN parts p
    WHERE p.number = e.number AND p.lot <> ? AND p.triggered_utc > ? AND p.triggered_utc < ?"""
#: No part is in view for longer.
_LONGEST_WINDOW_S = 86_400.0
_NUMBERS = """SELECT t.event, t.first_seen_utc FROM json_each(?) k CROSS JOIN runs r CROSS JOIN events t
    WHERE r.run_id = json_extract(k.value, '$[0]') AND t.run = r.run
    AND t.event_id = json_extract(k.value, '$[1]')"""


@dataclass(frozen=True, slots=True)
class LotRows:
    """What a lot's rows are known by: its times, the numbers of its parts' events, and those of other lots' parts.

    Its parts' events were first seen from `first_utc` to `last_utc`, which may lie outside of its times.
    """

    times: tuple[LotCameras, ...] = ()
    own: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    first_utc: float = 9e15
    last_utc: float = -9e15

    def condition(self, table: Table) -> RowCondition:
        """Return what holds for the lot's rows of a table, one of `OF_LOTS`."""
        begins, ends = _WHEN[table]
        each = [one.condition(begins, ends) for one in self.times]
        in_times = " OR ".join(f"({sql})" for sql, _ in each) or "false"
        values = tuple(value for _, own in each for value in own)
        since_utc = min((one.since_utc for one in self.times), default=9e15)
        until_utc = max((one.until_utc for one in self.times), default=-9e15)
        if table is not Table.EVENTS:
            return RowCondition(f"({in_times})", values, since_utc, until_utc)
        since_utc, until_utc = min(since_utc, self.first_utc), max(until_utc, self.last_utc)
        listed = "(SELECT CAST(value AS BIGINT) FROM json_each(?))"
        sql = f"(t.event IN {listed} OR ({in_times}) AND t.event NOT IN {listed})"
        bounds = "t.first_seen_utc >= ? AND t.first_seen_utc <= ?"  # for the index over time
        parameters = (since_utc, until_utc, json.dumps(self.own), *values, json.dumps(self.others))
        return RowCondition(f"{bounds} AND {sql}", parameters, since_utc, until_utc)


def read_lot_rows(parts: Records, records: Records, lot: str) -> LotRows:
    """Return what a lot's rows are known by, from `parts.sqlite` and the record file.

    Raises:
        Error: the database's, as it comes.
    """
    times = read_lot_cameras(parts, lot)
    own = _numbers(records, parts.execute(_OWN, (lot,)).fetchall())
    since_utc = min((one.since_utc for one in times), default=0.0) - _LONGEST_WINDOW_S
    until_utc = max((one.until_utc for one in times), default=0.0)
    found = parts.execute(_OTHERS, (lot, since_utc, until_utc)).fetchall() if times else []
    others = set(_numbers(records, found)) - set(own)
    return LotRows(
        times=times,
        own=tuple(own),
        others=tuple(sorted(others)),
        first_utc=min(own.values(), default=9e15),
        last_utc=max(own.values(), default=-9e15),
    )


def merged(every: Iterable[LotRows]) -> LotRows:
    """Return what the rows of any of these are known by. Pure."""
    found = list(every)
    return LotRows(
        times=tuple(time for one in found for time in one.times),
        own=tuple(number for one in found for number in one.own),
        others=tuple(number for one in found for number in one.others),
        first_utc=min((one.first_utc for one in found), default=9e15),
        last_utc=max((one.last_utc for one in found), default=-9e15),
    )


def any_of(conditions: Sequence[RowCondition]) -> RowCondition:
    """Return what holds for rows of any of some lots."""
    return RowCondition(
        f"({' OR '.join(f'({one.sql})' for one in conditions)})",
        tuple(value for one in conditions for value in one.parameters),
        min(one.since_utc for one in conditions),
        max(one.until_utc for one in conditions),
    )


def _numbers(records: Records, keys: Sequence[Sequence[str]]) -> dict[int, float]:
    """Return the numbers of events by their runs' and their own ids, each with when it was first seen."""
    asked = json.dumps([[run_id, event_id] for run_id, event_id in keys])
    return dict(sorted((number, first_utc) for number, first_utc in records.execute(_NUMBERS, (asked,))))
