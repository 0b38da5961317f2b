# SPDX-License-Identifier: AGPL-3.0-or-later
"""What goes first so that the records do not grow for ever: what is old, and the oldest where they are too large.

Detections go first, then events (after their images), what has had a file, then what the ledger says.
What was removed is itself a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from math import inf

from vision_line.records.corrected_time import Timeline, read_timeline
from vision_line.records.file_tables import AUDITS, CLIPS, FILE_TABLES, NEAR_MISSES, FileTable
from vision_line.records.journal_removal import remove_entries
from vision_line.records.schema import RecordConnection, transaction

DAY_S = 86_400
#: Rows of one transaction: a few milliseconds, so that results do not wait.
BATCH_ROWS = 1000
#: Rows are numbered as they were written: behind this many young ones in a row there are no old ones.
YOUNG_ROWS = 1000
#: How long to wait for the next batch, and for the next check where there was nothing to remove.
PACE_S = 0.5
IDLE_S = 10.0
#: The newest rows are never removed: the next start needs them to tell since when nothing was inspected.
SPARED_S = 3600
#: A wall clock that was wrong at the start has been set by then; by a wrong one everything may look old.
STEADY_S = 600.0
_STEP_S = 60.0
#: How long a timeline holds: nothing is old for longer after a step of the clock, and runs do not begin meanwhile.
KNOWN_S = 60.0


class Why(StrEnum):
    """Why rows were removed. Stable: exported."""

    KEEP_DAYS = "keep_days"
    MAX_MB = "max_mb"
    PRUNE = "prune"


@dataclass(frozen=True, slots=True)
class Removed:
    """Rows of one table that went together; `from_utc` is the time of the oldest, `to_utc` of the newest."""

    table: str
    rows: int
    from_utc: float
    to_utc: float
    why: Why


@dataclass(frozen=True, slots=True)
class RetainedTable:
    """A table, the columns that number its rows and say from when to when they tell, and which of them may go.

    `offset` says which clock labelled a row, as `Timeline` wants it; the end bears the clock of the beginning.
    """

    table: str
    number: str
    begins: str
    ends: str
    offset: str
    may_go: str = "1"

    @property
    def select(self) -> str:
        """A query for number, run, begin, end, offset, and whether a row may go; `t` is the table."""
        return (
            f"SELECT {self.number}, run, {self.begins}, coalesce({self.ends}, {self.begins}), {self.offset},"  # noqa: S608
            f" {self.may_go} FROM {self.table} t"
        )


_NO_EVIDENCE = """NOT EXISTS (SELECT 1 FROM evidence e WHERE e.run = t.run AND e.event_id = t.event_id
    AND e.path IS NOT NULL AND (e.deleted_utc IS NULL{or_}))"""
_OR_THE_LAST = " OR e.evidence = (SELECT max(evidence) FROM evidence WHERE deleted_utc IS NOT NULL)"
_NOT_THE_LAST = "EXISTS (SELECT 1 FROM states n WHERE n.run = t.run AND n.camera = t.camera AND n.change > t.change)"
_BY_ITS_CLOCK = """(SELECT k.to_utc - k.at_s FROM clock_steps k
    WHERE k.run = t.run AND k.clock = t.clock AND k.clock > 0)"""

#: A clip's row stays with its events: they have no other that says what became of it.
_NO_EVENT = (
    """NOT EXISTS (SELECT 1 FROM json_each(t.events) o JOIN events v ON v.run = t.run AND v.event_id = o.value)"""
)
#: A row stays what it is, of labels ahead of their removal or of others: `at_utc` never goes back behind `to_utc`.
_ENTER_ALSO = """UPDATE removals SET rows = rows + :rows, from_utc = min(from_utc, :from_utc),
    to_utc = max(to_utc, :to_utc), at_utc = max(at_utc, :at_utc)
    WHERE removal = (SELECT max(removal) FROM removals WHERE removed_from = :table AND why = :why
        AND at_utc >= :day_utc AND at_utc < :next_day_utc AND (to_utc > at_utc) = :is_ahead)"""
_REMOVED_UNTIL = "SELECT coalesce(max(to_utc), 0.0) FROM removals WHERE removed_from = 'detections'"
_LAST_DELETED = "SELECT max({number}) FROM {table} WHERE deleted_utc IS NOT NULL"


def _of_files(table: FileTable, ends: str, may_go: str = "1") -> RetainedTable:
    """Return the shelf of rows that go once their files are gone."""
    is_gone = f"(t.path IS NULL OR t.deleted_utc IS NOT NULL) AND {may_go}"
    return RetainedTable(table.table, table.number, table.seen, ends, table.offset, is_gone)


def _in_use(shelf: RetainedTable) -> RetainedTable:
    """Return the shelf as it is while a run is active, whose writers continue behind the last row they removed from.

    They ask for that row by its key where it is this run's own, and none but the highest such row can be that. It also
    keeps the numbers up to it from being given again.
    """
    if shelf.table == "events":
        return replace(shelf, may_go=_NO_EVIDENCE.format(or_=_OR_THE_LAST))
    if shelf.table not in FILE_TABLES:
        return shelf
    last = _LAST_DELETED.format(number=shelf.number, table=shelf.table)
    return replace(shelf, may_go=f"{shelf.may_go} AND t.{shelf.number} IS NOT ({last})")


_COVERAGE = RetainedTable("coverage", "minute", "minute_utc", "minute_utc", _BY_ITS_CLOCK)

#: In the order in which they go, when no run uses the records.
SHELVES = (
    RetainedTable("detections", "detection", "arrived_utc", "arrived_utc", "arrived_utc - arrived_s"),
    RetainedTable(
        *("events", "event", "first_seen_utc", "last_seen_utc", "first_seen_utc - first_seen_s"),
        _NO_EVIDENCE.format(or_=""),
    ),
    _of_files(CLIPS, "coalesce(t.ends_utc, t.created_utc)", _NO_EVENT),
    _of_files(NEAR_MISSES, "t.last_seen_utc"),
    _of_files(AUDITS, "t.arrived_utc"),
    RetainedTable("states", "change", "at_utc", "at_utc", "at_utc - at_s", _NOT_THE_LAST),
    _COVERAGE,
    RetainedTable(
        *("not_inspected", "interval", "started_utc", "ended_utc", "started_utc - started_s"),
        "ended_utc IS NOT NULL",
    ),
)

SHELVES_IN_USE = tuple(map(_in_use, SHELVES))


class RowAge:
    """From when on rows are old. Nothing is, until the wall clock has been steady for a while. Pure."""

    def __init__(self, keep_days: int) -> None:
        """Keep this many days; 0: for ever."""
        self._keep_s = keep_days * DAY_S
        self._offset_s = inf
        self._steady_since_s = inf

    def cutoff_utc(self, now_s: float, now_utc: float) -> float:
        """Return before when rows are old; -inf: none are. Call it several times an hour."""
        offset_s = now_utc - now_s
        if abs(offset_s - self._offset_s) > _STEP_S:
            self._offset_s, self._steady_since_s = offset_s, now_s
        is_known = self._keep_s and now_s - self._steady_since_s >= STEADY_S
        return now_utc - self._keep_s if is_known else -inf


class Retention:
    """Removes rows while a run is active, in the writer's thread, between its commits."""

    def __init__(self, keep_days: int, max_mb: int) -> None:
        """Keep this many days and megabytes; 0: without bound."""
        self._age = RowAge(keep_days)
        self._max_bytes = max_mb * 1_000_000
        self._due_s = -inf
        self._timeline: Timeline | None = None
        self._known_until_s = -inf

    def tidy(self, connection: sqlite3.Connection, now_s: float, now_utc: float) -> Removed | None:
        """Remove a batch, if it is time to and there is something to remove.

        Raises:
            sqlite3.Error: as it comes.
        """
        if now_s < self._due_s:
            return None
        cutoff_utc = self._age.cutoff_utc(now_s, now_utc)
        removed = None
        if cutoff_utc > -inf or self._max_bytes:
            timeline = self._timeline_of(connection, now_s, now_utc)
            with transaction(connection):
                removed = remove_batch(connection, timeline, cutoff_utc, self._max_bytes, now_utc)
        self._due_s = now_s + (IDLE_S if removed is None else PACE_S)
        return removed

    def _timeline_of(self, connection: sqlite3.Connection, now_s: float, now_utc: float) -> Timeline:
        if self._timeline is None or now_s >= self._known_until_s:
            self._timeline, self._known_until_s = read_timeline(connection, now_utc), now_s + KNOWN_S
        return self._timeline


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return how much of the record file is in use; pages that became free are used again before the file grows."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def detections_since(connection: sqlite3.Connection) -> float:
    """Return behind which moment no detection was removed: they go before the events that they belong to.

    Raises:
        sqlite3.Error: as it comes.
    """
    (removed_utc,) = connection.execute(_REMOVED_UNTIL).fetchone()
    return float(removed_utc)


def remove_batch(
    connection: sqlite3.Connection,
    timeline: Timeline,
    cutoff_utc: float,
    max_bytes: int,
    now_utc: float,
    *,
    shelves: Sequence[RetainedTable] = SHELVES_IN_USE,
    why: Why | None = None,
) -> Removed | None:
    """Remove the oldest rows that have to go, at most `BATCH_ROWS`, and enter that; None: there are none.

    Rows from before `cutoff_utc` have to go, and where the file is larger than `max_bytes` (0: without bound) the
    oldest; when a row is from is what `timeline` says. To be called in a transaction.

    Raises:
        sqlite3.Error: as it comes.
    """
    spared_utc = _spared_utc(connection, timeline, now_utc)
    for shelf in shelves if cutoff_utc > -inf else ():
        old = _old_rows(connection, shelf, timeline, min(cutoff_utc, spared_utc))
        if old:
            return _remove(connection, shelf, old, now_utc, why or Why.KEEP_DAYS, by_size=False)
    for shelf in shelves if max_bytes and used_bytes(connection) > max_bytes else ():
        old = _old_rows(connection, shelf, timeline, spared_utc)
        if old:
            return _remove(connection, shelf, old, now_utc, why or Why.MAX_MB, by_size=True)
    return None


@dataclass(frozen=True, slots=True)
class _Row:
    """A row that goes, and from when to when it tells by the wall clock of then."""

    number: int
    from_utc: float
    to_utc: float


def _spared_utc(connection: sqlite3.Connection, timeline: Timeline, now_utc: float) -> float:
    """Return from when on rows stay whatever is asked for."""
    newest = connection.execute(f"{_COVERAGE.select} ORDER BY minute DESC LIMIT 1").fetchone()
    if newest is None:
        return now_utc
    _, run, minute_utc, _, offset_s, _ = newest
    return min(now_utc, timeline.true_utc(run, minute_utc, offset_s) - SPARED_S)


def _old_rows(
    connection: sqlite3.Connection, shelf: RetainedTable, timeline: Timeline, before_utc: float
) -> list[_Row]:
    """Return the first rows that are from before `before_utc` and may go, at most `BATCH_ROWS`."""
    old: list[_Row] = []
    young = 0
    with closing(connection.execute(f"{shelf.select} ORDER BY {shelf.number}")) as rows:
        for number, run, from_utc, to_utc, offset_s, may_go in rows:
            is_young = timeline.true_utc(run, max(from_utc, to_utc), offset_s) >= before_utc
            young = young + 1 if is_young else 0
            if may_go and not is_young:
                old.append(_Row(number, from_utc, to_utc))
            if len(old) == BATCH_ROWS or young == YOUNG_ROWS:
                break
    return old


def _remove(
    connection: sqlite3.Connection,
    shelf: RetainedTable,
    old: Sequence[_Row],
    now_utc: float,
    why: Why,
    *,
    by_size: bool,
) -> Removed:
    numbers = [(row.number,) for row in old]
    if shelf.table == "events":
        sql = "DELETE FROM evidence WHERE (run, event_id) = (SELECT run, event_id FROM events WHERE event = ?)"
        connection.executemany(sql, numbers)
    connection.executemany(f"DELETE FROM {shelf.table} WHERE {shelf.number} = ?", numbers)  # noqa: S608  a constant
    ahead, others = [row for row in old if row.to_utc > now_utc], [row for row in old if row.to_utc <= now_utc]
    for rows in (ahead, others):
        if rows:
            _enter(connection, _removed(shelf.table, rows, why), now_utc)
    if isinstance(connection, RecordConnection):
        remove_entries(connection, connection.journal, why, removed_rows=len(old), by_size=by_size)
    return _removed(shelf.table, old, why)


def _removed(table: str, rows: Sequence[_Row], why: Why) -> Removed:
    return Removed(table, len(rows), min(row.from_utc for row in rows), max(row.to_utc for row in rows), why)


def _enter(connection: sqlite3.Connection, removed: Removed, now_utc: float) -> None:
    """Write down what was removed; what goes for the same reason on the same day is one row.

    What a clock labelled that was ahead has a row of its own: it says nothing of when others were from.
    """
    day_utc = now_utc // DAY_S * DAY_S
    same_day = connection.execute(
        _ENTER_ALSO,
        {
            **asdict(removed),
            "at_utc": now_utc,
            "day_utc": day_utc,
            "next_day_utc": day_utc + DAY_S,
            "is_ahead": removed.to_utc > now_utc,
        },
    ).rowcount
    if not same_day:
        connection.execute(
            "INSERT INTO removals (removed_from, rows, from_utc, to_utc, why, at_utc) VALUES (?, ?, ?, ?, ?, ?)",
            (removed.table, removed.rows, removed.from_utc, removed.to_utc, removed.why, now_utc),
        )
