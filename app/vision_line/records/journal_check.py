# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a record file is what was written: the chain of its journal, and the tables beside it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from vision_line.errors import BrokenRecordError
from vision_line.ports import ProgressCallback
from vision_line.records.columns import SqlValue
from vision_line.records.journal import (
    DETECTION_COLUMNS,
    JournalEntry,
    Kind,
    chained,
    group_digest,
    name_of,
    row_digest,
    row_texts,
)
from vision_line.records.journal_fold import DetectionGroup, Fold
from vision_line.records.journal_removal import Anchor, read_anchor
from vision_line.records.journal_tables import BY_KIND, ENTERED_AT_ONCE, JournalledTable
from vision_line.records.journal_writer import JournalHead
from vision_line.records.seal import CheckedSeals, check_seals

#: How often progress is reported.
REPORT_ENTRIES = 20_000

_ENTRIES = "SELECT number, run, kind, key, at_utc, body, digest FROM journal ORDER BY number"
#: What the entry of a removal says beside its row.
_OF_A_REMOVAL = frozenset({"removed", "digests"})
#: What a column that came with a newer version has in rows of older ones, by how its table declares that.
_ADDED: Mapping[str | None, SqlValue] = {None: None, "''": "", "0": 0}
_DECLARED = "SELECT name, dflt_value FROM pragma_table_info(?)"
_NOT_ENDED = "SELECT run FROM runs WHERE ended_utc IS NULL"


@dataclass(slots=True)
class CheckedJournal:
    """What holds: the newest entry, since when there is a journal, and how far it reaches.

    `first` is the number of the oldest entry that is kept. `before` counts rows that are older than the journal,
    `under_way` minutes that are not over, by table and as a number; `carried` entries repeat older ones.
    """

    head: JournalHead
    first: int
    began_utc: float
    since_utc: float
    before: Mapping[str, int] = field(default_factory=dict)
    under_way: int = 0
    carried: int = 0
    seals: CheckedSeals = field(default_factory=CheckedSeals)


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known from elsewhere: the digest of an entry that the journal must have, and who signs; both in hex."""

    head: str | None = None
    public_key: str | None = None


def check_journal(connection: sqlite3.Connection, expected: Expected, report: ProgressCallback) -> CheckedJournal:
    """Check the chain, then that its fold is what the tables hold. To be called in a read transaction.

    Raises:
        BrokenRecordError: something does not fit.
        ConfigError: the journal is signed, and the package that checks it is missing.
        sqlite3.Error: as it comes.
    """
    try:
        anchor = read_anchor(connection)
    except (ValueError, KeyError, TypeError) as exc:
        raise BrokenRecordError(f"the journal does not say where it begins: {exc}") from exc
    fold = Fold()
    found = _check_chain(connection, anchor, fold, expected, report)
    connection.row_factory = None
    tables = [_TableCheck(connection, table, fold, anchor) for table in BY_KIND.values()]
    checks: list[_TableCheck | _DetectionCheck] = [*tables, _DetectionCheck(connection, fold, anchor)]
    if problems := [*chain.from_iterable(check.problems() for check in checks)]:
        raise BrokenRecordError(min(problems)[1])
    found.before = {check.name: check.before for check in checks if check.before}
    found.under_way = sum(table.under_way for table in tables)
    return found


def _check_chain(
    connection: sqlite3.Connection, anchor: Anchor, fold: Fold, expected: Expected, report: ProgressCallback
) -> CheckedJournal:
    (total,) = connection.execute("SELECT count(*) FROM journal").fetchone()
    head, since_utc = JournalHead(anchor.through, anchor.digest), None
    seals: list[tuple[JournalEntry, JournalHead]] = []
    is_kept = expected.head is None  # the digest before the first entry is only what an entry says of one that is gone
    behind: list[JournalEntry] = []  # the first entry behind the last seal
    carried = unsealed = 0
    for *columns, digest in connection.execute(_ENTRIES):
        entry = JournalEntry(*columns)
        if entry.number != head.number + 1:
            raise BrokenRecordError(f"{name_of(entry)}: expected entry {head.number + 1} before it, which is missing")
        unsealed += 1
        if entry.kind == Kind.SEAL:
            seals.append((entry, head))
            unsealed = 0
            behind.clear()
        elif not behind:
            behind.append(entry)
        carried += entry.kind == Kind.CARRIED
        head = JournalHead(entry.number, chained(head.digest, entry))
        if digest != head.digest:
            raise BrokenRecordError(f"{name_of(entry)}: it was changed, or an entry before it: its digest does not fit")
        _fold_in(fold, entry)
        since_utc = entry.at_utc if since_utc is None else since_utc
        is_kept = is_kept or digest.hex() == expected.head
        if not entry.number % REPORT_ENTRIES:
            report(entry.number - anchor.through, total)
    if not is_kept:
        raise BrokenRecordError(
            f"no entry from {anchor.through + 1} to {head.number} has the digest {expected.head}: the end was taken"
            " away, the file is an older or another one, or the entry was removed with its rows"
        )
    report(total, total)
    checked = check_seals(seals, expected.public_key)
    if expected.public_key is not None:
        _check_sealed(connection, behind)
    checked.behind = unsealed
    since_utc = anchor.began_utc if since_utc is None else since_utc
    return CheckedJournal(head, anchor.through + 1, anchor.began_utc, since_utc, carried=carried, seals=checked)


#: What `vision-line prune` enters; it belongs to no run and signs nothing.
_OF_PRUNING = frozenset({Kind.EVIDENCE, Kind.CLIP, Kind.NEAR_MISS, Kind.AUDIT, Kind.REMOVAL, Kind.CARRIED})


def _check_sealed(connection: sqlite3.Connection, behind: list[JournalEntry]) -> None:
    """Check that there are no entries `behind` the last seal, where no run is under way.

    Raises:
        BrokenRecordError: there is one that no run could have left so.
    """
    if behind and connection.execute(_NOT_ENDED).fetchone() is None:
        raise BrokenRecordError(
            f"{name_of(behind[0])}: every run and every prune ended with a seal, and this is behind the last one"
        )


def _fold_in(fold: Fold, entry: JournalEntry) -> None:
    try:
        fold.add(entry)
    except (ValueError, KeyError, TypeError, IndexError) as exc:
        raise BrokenRecordError(f"{name_of(entry)}: its body is not one that vision-line writes: {exc}") from exc


#: An entry's number, and what does not fit there; rows without an entry come last.
_Problem = tuple[float, str]
_LAST = float("inf")
#: Of a minute: run and camera; its clock, and when it began.
_Camera = tuple[SqlValue, SqlValue]
_Place = tuple[int, int]


class _TableCheck:
    """One table against the fold."""

    def __init__(self, connection: sqlite3.Connection, table: JournalledTable, fold: Fold, anchor: Anchor) -> None:
        self.name = table.table
        self.before = self.under_way = 0
        self._connection = connection
        self._table = table
        self._under_way: list[tuple[_Camera, _Place, str]] = []
        self._last_minute: dict[_Camera, _Place] = {}
        self._newest = dict(fold.newest[table.table])
        self._highest_before = 0 if table.table in ENTERED_AT_ONCE else anchor.before.get(table.table, 0)
        self._not_ended = {run for (run,) in connection.execute(_NOT_ENDED)}
        self._columns = table.columns(connection)
        self._declared: dict[str, str | None] = dict(connection.execute(_DECLARED, (table.table,)).fetchall())

    def problems(self) -> Iterator[_Problem]:
        """Return what does not fit."""
        columns = ", ".join(self._columns)
        text_of = row_texts(self._columns)
        places = [self._columns.index(column) for column in self._table.identity]
        for values in self._connection.execute(f"SELECT {columns} FROM {self.name}"):  # noqa: S608  a constant
            if self.name == "coverage":
                self._note_minute(values)
            number, body_hash = self._newest.pop(tuple([values[place] for place in places]), (None, 0))
            if number is None:
                yield from self._without_entry(self._named(values))
            elif body_hash != hash(text_of(values)) and not self._is_said(number, self._named(values)):
                yield number, f"{self._entry(number)}: the row in table {self.name} is another one"
        for number, _ in self._newest.values():
            yield number, f"{self._entry(number)}: its row is missing from table {self.name}"
        yield from self._of_minutes()

    def _named(self, values: Sequence[SqlValue]) -> Mapping[str, SqlValue]:
        return dict(zip(self._columns, values, strict=True))

    def _note_minute(self, values: Sequence[SqlValue]) -> None:
        """Keep which minute of each camera is the last one, in runs that have not ended."""
        row = self._named(values)
        if row["run"] in self._not_ended:
            camera, place = _place_of(row)
            self._last_minute[camera] = max(place, self._last_minute.get(camera, place))

    def _without_entry(self, row: Mapping[str, SqlValue]) -> Iterator[_Problem]:
        identity = row[self._table.identity[0]]
        if self.name == "coverage" and row["provisional"] and row["run"] in self._not_ended:
            self._under_way.append((*_place_of(row), self._table.key_of(row)))
        elif isinstance(identity, int) and 1 <= identity <= self._highest_before:
            self.before += 1
        else:
            yield _LAST, f"table {self.name}: row {self._table.key_of(row)} has no entry in the journal"

    def _of_minutes(self) -> Iterator[_Problem]:
        """Check those without an entry that are not over: of each camera that a run has, the newest alone."""
        has = {tuple(row) for row in self._connection.execute("SELECT DISTINCT run, name FROM cameras")}
        for camera, place, key in self._under_way:
            if camera not in has:
                yield _LAST, f"table {self.name}: row {key} is of a camera that the run does not have"
            elif place != self._last_minute[camera]:
                yield _LAST, f"table {self.name}: row {key} is over, and has no entry in the journal"
        self.under_way = len(self._under_way)

    def _is_said(self, number: int, row: Mapping[str, SqlValue]) -> bool:
        (body,) = self._connection.execute("SELECT body FROM journal WHERE number = ?", (number,)).fetchone()
        said = json.loads(body)  # by an older version it lacks columns, of a removal it has more
        more = _OF_A_REMOVAL if self._table.kind is Kind.REMOVAL else frozenset()
        if not said.keys() <= row.keys() | more or any(
            row[column] != _ADDED.get(self._declared[column]) for column in row.keys() - said.keys()
        ):
            return False
        return all(said[column] == row[column] for column in said.keys() - more)

    def _entry(self, number: int) -> str:
        return _entry_name(self._connection, number)


def _place_of(row: Mapping[str, SqlValue]) -> tuple[_Camera, _Place]:
    return (row["run"], row["camera"]), (int(row["clock"] or 0), int(row["minute_utc"] or 0))


class _DetectionCheck:
    """The detections against the digests of their groups."""

    def __init__(self, connection: sqlite3.Connection, fold: Fold, anchor: Anchor) -> None:
        self.name = "detections"
        self.before = 0
        self._connection = connection
        self._fold = fold
        self._highest_before = anchor.before.get("detections", 0)

    def problems(self) -> Iterator[_Problem]:
        """Return what does not fit."""
        sql = f"SELECT {', '.join(DETECTION_COLUMNS)} FROM detections ORDER BY detection"  # noqa: S608  a constant
        rows = self._connection.execute(sql)
        row = rows.fetchone()
        for group in self._fold.overwritten:
            words = f"of detections {group.first} to {group.last} some went, and nothing says that they were removed"
            yield group.number, f"{_entry_name(self._connection, group.number)}: {words}"
        for group in self._fold.groups:
            while row is not None and row[0] < group.first:
                yield from self._without_entry(row[0])
                row = rows.fetchone()
            digests = {number: bytes.fromhex(digest) for number, digest in group.digests.items()}
            while row is not None and row[0] <= group.end:
                digests[row[0]] = row_digest(row)
                row = rows.fetchone()
            yield from self._mismatch(group, digests)
        while row is not None:
            yield from self._without_entry(row[0])
            row = rows.fetchone()

    def _mismatch(self, group: DetectionGroup, digests: Mapping[int, bytes]) -> Iterator[_Problem]:
        numbers = range(group.first, group.last + 1)
        missing = next((number for number in numbers if number not in digests), None)
        if missing is not None:
            yield group.number, f"{_entry_name(self._connection, group.number)}: detection {missing} is missing"
        elif group_digest(digests[number] for number in numbers) != group.digest:
            words = f"a detection of {group.first} to {group.last} is another one: their digest does not fit"
            yield group.number, f"{_entry_name(self._connection, group.number)}: {words}"

    def _without_entry(self, number: int) -> Iterator[_Problem]:
        if 1 <= number <= self._highest_before:
            self.before += 1
        else:
            yield _LAST, f"table detections: row {number} has no entry in the journal"


def _entry_name(connection: sqlite3.Connection, number: int) -> str:
    sql = "SELECT number, run, kind, key, at_utc, '' FROM journal WHERE number = ?"
    return name_of(JournalEntry(*connection.execute(sql, (number,)).fetchone()))
