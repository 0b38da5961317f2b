# SPDX-License-Identifier: AGPL-3.0-or-later
"""The beginning of a side file's journal goes, but for some kinds; what stays can still be checked.

Each removal is an entry: up to which one all went, the digest of that one, where the chain now begins, and a digest of
what stayed of them. It says so of all removals so far: the one before may be among what goes.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from vision_line.errors import BrokenRecordError
from vision_line.records.journal import NO_DIGEST, JournalEntry, chained
from vision_line.records.records import Records
from vision_line.records.side_journal import append

REMOVAL, KEY = "removal", "journal"

#: Which entry is the newest removal, so that nobody has to search for it; no row: nothing ever went.
TABLE = "CREATE TABLE removals (entry INTEGER PRIMARY KEY) STRICT"

_HAS_TABLE = """SELECT 1 FROM sqlite_schema WHERE name = 'removals' UNION ALL
    SELECT 1 FROM sqlite_temp_schema WHERE name = 'removals'"""
_NEWEST = "SELECT r.entry, j.kind, j.body FROM removals r LEFT JOIN journal j ON j.number = r.entry"
_ROWS = "SELECT number, kind, key, at_utc, body, digest FROM journal WHERE number > ? AND number <= ? ORDER BY number"
_NO_DELETE = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = 'journal_no_delete'"


@dataclass(frozen=True, slots=True)
class SideAnchor:
    """Where a journal begins: behind entry `through`, whose digest is `digest`; `kept` entries stayed of those.

    `kept_digest` is the digest of the last of these, chained as if there had been no others. `body` is that of the
    newest removal, entry `entry`, 0: there was none.
    """

    entry: int = 0
    through: int = 0
    digest: bytes = NO_DIGEST
    kept: int = 0
    kept_digest: bytes = NO_DIGEST
    body: str = "{}"


def read_anchor(connection: Records) -> SideAnchor:
    """Return where the journal begins.

    Raises:
        ValueError, KeyError, TypeError: the entry that should say so does not.
        sqlite3.Error: as it comes.
    """
    if connection.execute(_HAS_TABLE).fetchone() is None:  # a file from before there were removals, or of another kind
        return SideAnchor()
    row = connection.execute(_NEWEST).fetchone()
    if row is None:
        return SideAnchor()
    entry, kind, body = row
    if kind != REMOVAL:
        raise ValueError(f"entry {entry} is no removal")
    said = json.loads(body)
    digests = bytes.fromhex(said["digest"]), bytes.fromhex(said["kept_digest"])
    return SideAnchor(entry, int(said["through"]), digests[0], int(said["kept"]), digests[1], body)


def remove_through(
    connection: sqlite3.Connection, through: int, kept_kinds: Collection[str], said: Mapping[str, object]
) -> int:
    """Remove the entries up to `through` but for some kinds, and enter that with what is `said`; return its number.

    To be called in a transaction. The newest entry cannot go before the removal is entered, so no number comes twice.

    Raises:
        BrokenRecordError: what would go is not what was written: it stays, to be found.
        sqlite3.Error: as it comes.
    """
    anchor = read_anchor(connection)
    digest, kept, kept_digest = anchor.digest, anchor.kept, anchor.kept_digest
    going: list[tuple[int]] = []
    for entry, digest in _held(connection, anchor, through):  # noqa: B007  the last one's digest
        if entry.kind in kept_kinds:
            kept, kept_digest = kept + 1, chained(kept_digest, entry)
        else:
            going.append((entry.number,))
    body = {"through": through, "digest": digest.hex(), "kept": kept, "kept_digest": kept_digest.hex()}
    number = append(connection, REMOVAL, KEY, {**said, **body})
    _delete(connection, going)
    connection.execute("DELETE FROM removals")
    connection.execute("INSERT INTO removals (entry) VALUES (?)", (number,))
    return number


def kept_problem(connection: sqlite3.Connection, anchor: SideAnchor) -> str:
    """Return what is wrong with what stayed of a beginning that went, "" where nothing is."""
    rows = connection.execute(_ROWS, (0, anchor.through)).fetchall()
    digest = NO_DIGEST
    for row in rows:
        digest = chained(digest, _entry(row))
    if (len(rows), digest) != (anchor.kept, anchor.kept_digest):
        return f"what stayed of entries 1 to {anchor.through} is not what the removal, entry {anchor.entry}, says"
    newer = "SELECT number FROM journal WHERE kind = ? AND number > ? ORDER BY number LIMIT 1"
    row = connection.execute(newer, (REMOVAL, anchor.entry)).fetchone()
    return "" if row is None else f"entry {row[0]} is a removal that did not happen"


def _held(connection: sqlite3.Connection, anchor: SideAnchor, through: int) -> Iterator[tuple[JournalEntry, bytes]]:
    """Return the entries behind the anchor with their digests, as long as they are what was written."""
    previous, expected = anchor.digest, anchor.through + 1
    for row in connection.execute(_ROWS, (anchor.through, through)).fetchall():
        entry = _entry(row)
        previous = chained(previous, entry)
        if (entry.number, row[5]) != (expected, previous):
            raise BrokenRecordError(f"entry {expected} is not what was written")
        expected += 1
        yield entry, previous


def _delete(connection: sqlite3.Connection, numbers: Iterable[tuple[int]]) -> None:
    """Delete entries: for the length of this transaction the journal is not append-only."""
    (trigger,) = connection.execute(_NO_DELETE).fetchone()
    connection.execute("DROP TRIGGER journal_no_delete")
    connection.executemany("DELETE FROM journal WHERE number = ?", numbers)
    connection.execute(trigger)


def _entry(row: sqlite3.Row | tuple[int, str, str, float, str, bytes]) -> JournalEntry:
    number, kind, key, at_utc, body, _ = row
    return JournalEntry(number, 0, kind, key, at_utc, body)
