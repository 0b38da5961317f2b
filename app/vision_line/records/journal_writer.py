# SPDX-License-Identifier: AGPL-3.0-or-later
"""Appends to the journal, in the transaction that changes the tables: what it changes is entered, whoever changes it.

Temporary triggers report each change of a row. So no statement can be forgotten, and an entry holds what is stored.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import NamedTuple

from vision_line.errors import RunError
from vision_line.records.columns import SqlValue
from vision_line.records.formats import iso_utc
from vision_line.records.journal import (
    DETECTION_COLUMNS,
    NO_DIGEST,
    JournalEntry,
    Kind,
    canonical,
    chained,
    detection_format,
    group_digest,
    row_digest,
    spans,
)
from vision_line.records.journal_tables import (
    BY_KIND,
    DETECTIONS,
    ENTERED_AT_ONCE,
    JOURNALLED,
    JournalledTable,
    triggers,
)

logger = logging.getLogger(__name__)

#: More than the entries of any life; SQLite's numbers end at 2^63 - 1, and nothing fits behind that.
_MOST_ENTRIES = 2**62

Row = tuple[SqlValue, ...]
Body = Mapping[str, object]


class JournalHead(NamedTuple):
    """The newest entry: its number and digest; what is appended next stands on it."""

    number: int = 0
    digest: bytes = NO_DIGEST


class _Draft(NamedTuple):
    """An entry to be: `body` may depend on the entry before it. `of_deletion`: where rows are removed, that says it."""

    kind: str
    key: str
    body: Body | str | Callable[[JournalHead], Body]
    run: int = 0
    of_deletion: bool = False


@dataclass(slots=True)
class _Changes:
    """What a transaction has done so far, in its order; detections apart, because a group of them has one entry."""

    drafts: list[_Draft]
    detections: list[Row]
    deleted: dict[str, list[Row]]
    removals: list[tuple[str, Body]]

    def __bool__(self) -> bool:
        return bool(self.drafts or self.detections or self.deleted or self.removals)


class JournalWriter:
    """One connection's end of the journal: it gathers changes, and enters them before the transaction is committed."""

    def __init__(self) -> None:
        """Gather nothing until `follow`."""
        self._tables = {table.table: table for table in (*JOURNALLED, DETECTIONS)}
        self._columns: dict[str, tuple[str, ...]] = {}
        self._changes = _Changes([], [], {}, [])
        self.newest = 0  # number of the entry that was appended last, by this connection

    def follow(self, connection: sqlite3.Connection) -> None:
        """Have every change of the tables reported from now on.

        Raises:
            sqlite3.Error: as it comes.
        """
        self._columns = {name: table.columns(connection) for name, table in self._tables.items()}
        connection.create_function("journal_write", -1, self._written)
        connection.create_function("journal_delete", -1, self._deleted)
        for sql in triggers(connection):
            connection.execute(sql)

    def append(self, kind: Kind, key: str, body: Body | str | Callable[[JournalHead], Body], run: int = 0) -> None:
        """Have an entry that is no row's written with the transaction; a callable gets the entry before it."""
        self._changes.drafts.append(_Draft(kind, key, body, run))

    @property
    def has_changes(self) -> bool:
        """Whether the transaction has gathered anything that is not entered yet."""
        return bool(self._changes)

    def discard(self) -> None:
        """Enter nothing of what was gathered: it was rolled back."""
        self._changes = _Changes([], [], {}, [])

    def flush(self, connection: sqlite3.Connection) -> None:
        """Enter what was gathered. To be called in the transaction, last.

        Raises:
            RunError: the journal was changed so that nothing can be appended.
            sqlite3.Error: as it comes.
        """
        if not self._changes:
            return
        at_utc, head, rows = time.time(), read_head(connection), []
        if head.number >= _MOST_ENTRIES:
            raise RunError(f"the journal's newest entry has number {head.number}, which vision-line never wrote")
        for draft in self._drafts(connection):
            entry = JournalEntry(head.number + 1, draft.run, draft.kind, draft.key, at_utc, _text_of(draft, head))
            head = JournalHead(entry.number, chained(head.digest, entry))
            rows.append((*entry, head.digest))
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self.newest = head.number
        self.discard()

    def _written(self, name: str, *values: SqlValue) -> None:
        """Take note of a row as it is now; called by SQLite."""
        if name == DETECTIONS.table:
            self._changes.detections.append(values)
            return
        table = self._tables[name]
        row = dict(zip(self._columns[name], values, strict=True))
        if table.kind is Kind.REMOVAL:
            self._changes.removals.append((table.key_of(row), row))
        else:
            self._changes.drafts.append(_Draft(table.kind, table.key_of(row), row, _run_of(row)))

    def _deleted(self, name: str, *values: SqlValue) -> None:
        """Take note of a row that was deleted; called by SQLite.

        Its number may be given again in the same transaction, so that what was withdrawn is entered in its order.
        """
        self._changes.deleted.setdefault(name, []).append(values)
        if name != DETECTIONS.table:  # these only go with a removal
            self._changes.drafts.append(self._withdrawn(self._tables[name], values))

    def _drafts(self, connection: sqlite3.Connection) -> Iterator[_Draft]:
        changes = self._changes
        yield from (draft for draft in changes.drafts if not (changes.removals and draft.of_deletion))
        if changes.removals:
            *others, (key, last) = changes.removals
            yield from (_Draft(Kind.REMOVAL, *other) for other in others)
            yield _Draft(Kind.REMOVAL, key, {**last, **self._removed(connection)})
        if changes.detections:
            yield from _groups(connection, changes.detections)

    def _withdrawn(self, table: JournalledTable, values: Row) -> _Draft:
        """Return the entry of a row that went although nothing was removed: what it said was not so."""
        row = dict(zip(self._columns[table.table], values, strict=True))
        identity = {column: row[column] for column in table.identity}
        return _Draft(table.kind, table.key_of(row), {**identity, "withdrawn": True}, _run_of(row), of_deletion=True)

    def _removed(self, connection: sqlite3.Connection) -> Body:
        """Return which rows were removed, and the digests of those whose group of detections has others."""
        deleted = {
            name: sorted(self._number_of(name, values) for values in rows)
            for name, rows in self._changes.deleted.items()
        }
        digests = {}
        if rows := self._changes.deleted.get(DETECTIONS.table):
            by_number = {row[0]: row for row in rows}
            cut = cut_numbers(connection, deleted[DETECTIONS.table])
            digests = {str(number): row_digest(by_number[number]).hex() for number in cut}
        return {"removed": {name: spans(numbers) for name, numbers in deleted.items()}, "digests": digests}

    def _number_of(self, name: str, values: Row) -> int:
        (identity,) = self._tables[name].identity
        return int(values[self._columns[name].index(identity)] or 0)


def _text_of(draft: _Draft, head: JournalHead) -> str:
    body = draft.body(head) if callable(draft.body) else draft.body
    text = body if isinstance(body, str) else canonical(body)
    return text.encode(errors="backslashreplace").decode()  # of a byte that is no text: JSON's own escape of it


def _run_of(row: Mapping[str, SqlValue]) -> int:
    return int(row.get("run") or 0)


def read_head(connection: sqlite3.Connection) -> JournalHead:
    """Return the newest entry.

    Raises:
        sqlite3.Error: as it comes.
    """
    row = connection.execute("SELECT number, digest FROM journal ORDER BY number DESC LIMIT 1").fetchone()
    return JournalHead() if row is None else JournalHead(*row)


def begin_journal(connection: sqlite3.Connection, journal: JournalWriter, *, is_new: bool) -> None:
    """Enter the first entry: which rows were there before it. Those of a few tables are entered at once.

    Raises:
        sqlite3.Error: as it comes.
    """
    followed = [table for table in (*JOURNALLED, DETECTIONS) if table.table not in ENTERED_AT_ONCE]
    before = {table.table: _highest(connection, table) for table in followed}
    began_utc = time.time()
    journal.append(Kind.BEGIN, "", {"before": before, "began_utc": began_utc})
    if not is_new:
        logger.info("journal begins at %s: what was recorded before has no entry in it", iso_utc(began_utc))
    for name in () if is_new else ENTERED_AT_ONCE:
        (column, *_) = BY_KIND[next(table.kind for table in JOURNALLED if table.table == name)].identity
        connection.execute(f"UPDATE {name} SET {column} = {column}")  # noqa: S608  names, of this package


def _highest(connection: sqlite3.Connection, table: JournalledTable) -> int:
    (column,) = table.identity
    (highest,) = connection.execute(f"SELECT coalesce(max({column}), 0) FROM {table.table}").fetchone()  # noqa: S608
    return int(highest)


# A group of detections: rows of one transaction. Its key is `epoch/first/last`, so that the group of a row is found by
# an index. Numbers are used again once the highest rows were removed: then an epoch begins.

#: When a group is removed in part, what went leaves its digests: so groups are small.
GROUP_ROWS = 100
_KEY = "{:06}/{:012}/{:012}"
_LAST_GROUP = "SELECT key FROM journal WHERE kind = 'detections' AND key < ? ORDER BY key DESC"
#: Behind every key: these begin with a digit.
_BEHIND_ALL = ":"


class _Group(NamedTuple):
    epoch: int
    first: int
    last: int


def _groups(connection: sqlite3.Connection, rows: Sequence[Row]) -> Iterator[_Draft]:
    before = _group_before(connection, _BEHIND_ALL)
    epoch = 1 if before is None else before.epoch + (int(rows[0][0] or 0) <= before.last)
    for start in range(0, len(rows), GROUP_ROWS):
        yield _group(epoch, rows[start : start + GROUP_ROWS])


def _group(epoch: int, rows: Sequence[Row]) -> _Draft:
    first, last = int(rows[0][0] or 0), int(rows[-1][0] or 0)
    body = {"count": len(rows), "digest": group_digest(map(row_digest, rows)), "format": detection_format(rows)}
    run = int(rows[0][DETECTION_COLUMNS.index("run")] or 0)
    return _Draft(Kind.DETECTIONS, _KEY.format(epoch, first, last), body, run)


def _group_before(connection: sqlite3.Connection, key: str) -> _Group | None:
    """Return the newest group before `key`; a key that somebody changed is passed over, `verify` finds it."""
    with closing(connection.execute(_LAST_GROUP, (key,))) as rows:
        for (found,) in rows:
            with suppress(ValueError, TypeError):
                return _Group(*map(int, found.split("/")))
    return None


def _group_of(connection: sqlite3.Connection, number: int) -> _Group | None:
    """Return the newest group that has the row `number`, None for a row from before the journal."""
    group = _group_before(connection, _BEHIND_ALL)
    while group is not None and group.epoch:
        found = _group_before(connection, f"{group.epoch:06}/{number:012}~")
        if found is not None and found.epoch == group.epoch and found.last >= number:
            return found
        group = _group_before(connection, f"{group.epoch:06}")
    return None


def cut_numbers(connection: sqlite3.Connection, deleted: Iterable[int]) -> list[int]:
    """Return those of the `deleted` rows (rising) whose group still has others.

    Raises:
        sqlite3.Error: as it comes.
    """
    cut: list[int] = []
    last, is_cut = -1, False
    for number in deleted:
        if number > last:
            group = _group_of(connection, number)
            last, is_cut = (number, False) if group is None else (group.last, _has_rows(connection, group))
        if is_cut:
            cut.append(number)
    return cut


def _has_rows(connection: sqlite3.Connection, group: _Group) -> bool:
    sql = "SELECT 1 FROM detections WHERE detection BETWEEN ? AND ? LIMIT 1"
    return connection.execute(sql, (group.first, group.last)).fetchone() is not None
