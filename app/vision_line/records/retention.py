# SPDX-License-Identifier: AGPL-3.0-or-later
"""What goes first so that the records do not grow for ever: what is old, and the oldest where they are too large.

Detections go first, then events (after their pictures), then what the ledger says. What was removed is itself a row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from vision_line.records.schema import transaction

DAY_S = 86_400
#: Rows of one transaction: a few milliseconds, so that results do not wait.
BATCH_ROWS = 1000
#: How long to wait for the next batch, and for the next look where there was nothing to remove.
PACE_S = 0.5
IDLE_S = 10.0
#: The newest rows are never removed: the next start needs them to tell since when nobody looked.
SPARED_S = 3600
#: A wall clock that was wrong at the start has been set by then; by a wrong one everything may look old.
STEADY_S = 600.0
_STEP_S = 60.0


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
class Shelf:
    """A table, the columns that number its rows and say from when to when they tell, and which of them may go."""

    table: str
    number: str
    begins: str
    ends: str
    may_go: str = "1"


_NO_PICTURE = """NOT EXISTS (SELECT 1 FROM evidence e WHERE e.run = t.run AND e.event_id = t.event_id
    AND e.path IS NOT NULL AND (e.deleted_utc IS NULL{or_}))"""
_OR_THE_LAST = " OR e.evidence = (SELECT max(evidence) FROM evidence WHERE deleted_utc IS NOT NULL)"
_NOT_THE_LAST = "EXISTS (SELECT 1 FROM states n WHERE n.run = t.run AND n.camera = t.camera AND n.change > t.change)"

#: In the order in which they go, when no run uses the records.
SHELVES = (
    Shelf("detections", "detection", "arrived_utc", "arrived_utc"),
    Shelf("events", "event", "first_seen_utc", "last_seen_utc", _NO_PICTURE.format(or_="")),
    Shelf("states", "change", "at_utc", "at_utc", _NOT_THE_LAST),
    Shelf("coverage", "minute", "minute_utc", "minute_utc"),
    Shelf("not_inspected", "interval", "started_utc", "ended_utc", "ended_utc IS NOT NULL"),
)

#: The last row whose picture was removed stays while a run goes on: its keeper of pictures goes on from there.
SHELVES_IN_USE = tuple(
    replace(shelf, may_go=_NO_PICTURE.format(or_=_OR_THE_LAST)) if shelf.table == "events" else shelf
    for shelf in SHELVES
)


class Age:
    """From when on rows are old. Nothing is, until the wall clock has been steady for a while. Pure."""

    def __init__(self, keep_days: int) -> None:
        """Keep so many days; 0: for ever."""
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
    """Removes rows while a run goes on, in the writer's thread, between its commits."""

    def __init__(self, keep_days: int, max_mb: int) -> None:
        """Keep so many days and so many megabytes; 0: without bound."""
        self._age = Age(keep_days)
        self._max_bytes = max_mb * 1_000_000
        self._due_s = -inf

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
            with transaction(connection):
                removed = remove_batch(connection, cutoff_utc, self._max_bytes, now_utc)
        self._due_s = now_s + (IDLE_S if removed is None else PACE_S)
        return removed


def used_bytes(connection: sqlite3.Connection) -> int:
    """Return how much of the record file is in use; pages that became free are used again before the file grows."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def remove_batch(
    connection: sqlite3.Connection,
    cutoff_utc: float,
    max_bytes: int,
    now_utc: float,
    *,
    shelves: Sequence[Shelf] = SHELVES_IN_USE,
    why: Why | None = None,
) -> Removed | None:
    """Remove the oldest rows that have to go, at most `BATCH_ROWS`, and enter that; None: there are none.

    Rows from before `cutoff_utc` have to go, and where the file is larger than `max_bytes` (0: without bound) the
    oldest. To be called in a transaction.

    Raises:
        sqlite3.Error: as it comes.
    """
    (newest_utc,) = connection.execute("SELECT max(minute_utc) FROM coverage").fetchone()
    spared_utc = now_utc if newest_utc is None else min(now_utc, newest_utc - SPARED_S)
    for shelf in shelves if cutoff_utc > -inf else ():
        if removed := _remove(connection, shelf, min(cutoff_utc, spared_utc), now_utc, why or Why.KEEP_DAYS):
            return removed
    for shelf in shelves if max_bytes and used_bytes(connection) > max_bytes else ():
        if removed := _remove(connection, shelf, spared_utc, now_utc, why or Why.MAX_MB):
            return removed
    return None


def _remove(
    connection: sqlite3.Connection, shelf: Shelf, before_utc: float, now_utc: float, why: Why
) -> Removed | None:
    rows = connection.execute(
        f"SELECT {shelf.number}, {shelf.begins}, {shelf.ends} FROM {shelf.table} t WHERE {shelf.begins} < ?1"  # noqa: S608
        f" AND {shelf.ends} < ?1 AND {shelf.may_go} ORDER BY {shelf.begins} LIMIT {BATCH_ROWS}",
        (before_utc,),
    ).fetchall()
    if not rows:
        return None
    numbers = [(row[0],) for row in rows]
    if shelf.table == "events":
        sql = "DELETE FROM evidence WHERE (run, event_id) = (SELECT run, event_id FROM events WHERE event = ?)"
        connection.executemany(sql, numbers)
    connection.executemany(f"DELETE FROM {shelf.table} WHERE {shelf.number} = ?", numbers)  # noqa: S608  a constant
    removed = Removed(shelf.table, len(rows), rows[0][1], max(row[2] for row in rows), why)
    _enter(connection, removed, now_utc)
    return removed


def _enter(connection: sqlite3.Connection, removed: Removed, now_utc: float) -> None:
    """Write down what was removed; what goes for the same reason on the same day is one row."""
    same_day = connection.execute(
        "UPDATE removals SET rows = rows + ?, from_utc = min(from_utc, ?), to_utc = max(to_utc, ?), at_utc = ?"
        " WHERE removal = (SELECT max(removal) FROM removals WHERE removed_from = ? AND why = ?) AND at_utc >= ?",
        (
            *(removed.rows, removed.from_utc, removed.to_utc, now_utc),
            *(removed.table, removed.why, now_utc // DAY_S * DAY_S),
        ),
    ).rowcount
    if not same_day:
        connection.execute(
            "INSERT INTO removals (removed_from, rows, from_utc, to_utc, why, at_utc) VALUES (?, ?, ?, ?, ?, ?)",
            (removed.table, removed.rows, removed.from_utc, removed.to_utc, removed.why, now_utc),
        )
