# SPDX-License-Identifier: AGPL-3.0-or-later
"""The append-only journal of a side file, chained as the one of the records is.

Each kind of entry belongs to one module, which says what its body holds.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vision_line.records.journal import NO_DIGEST, JournalEntry, canonical, chained

#: The table, and against a mistake of ours what keeps it append-only; against others there is the chain.
TABLES = (
    """CREATE TABLE journal (
        number INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, at_utc REAL NOT NULL, body TEXT NOT NULL,
        digest BLOB NOT NULL) STRICT""",
    *(
        f"CREATE TRIGGER journal_no_{verb} BEFORE {verb} ON journal BEGIN SELECT RAISE(ABORT, 'append-only'); END"
        for verb in ("update", "delete")
    ),
)


@dataclass(frozen=True, slots=True)
class SideEntry:
    """An entry as people read it. `key` is what it is about, "" where that has no name."""

    number: int
    kind: str
    key: str
    at_utc: float
    body: Mapping[str, object]


def append(connection: sqlite3.Connection, kind: str, key: str, body: Mapping[str, object]) -> int:
    """Append an entry within the transaction that changes what it says; return its number."""
    number, digest = connection.execute(
        "SELECT coalesce(max(number), 0), (SELECT digest FROM journal ORDER BY number DESC LIMIT 1) FROM journal"
    ).fetchone()
    entry = JournalEntry(number + 1, 0, kind, key, round(time.time(), 3), canonical(body))
    row = (entry.number, entry.kind, entry.key, entry.at_utc, entry.body, chained(digest or NO_DIGEST, entry))
    connection.execute("INSERT INTO journal (number, kind, key, at_utc, body, digest) VALUES (?, ?, ?, ?, ?, ?)", row)
    return entry.number


def newest(connection: sqlite3.Connection, kinds: Iterable[str], most: int) -> list[SideEntry]:
    """Return the newest entries of these kinds, the newest first."""
    return _entries(connection, kinds, "ORDER BY number DESC LIMIT ?", most)


def entries(connection: sqlite3.Connection, kinds: Iterable[str], behind: int = 0, most: int = -1) -> list[SideEntry]:
    """Return the entries of these kinds behind a number, in their order; all of them where `most` is -1."""
    return _entries(connection, kinds, "AND number > ? ORDER BY number LIMIT ?", behind, most)


def _entries(connection: sqlite3.Connection, kinds: Iterable[str], rest: str, *values: int) -> list[SideEntry]:
    wanted = [str(kind) for kind in kinds]
    places = ", ".join("?" * len(wanted))
    sql = f"SELECT number, kind, key, at_utc, body FROM journal WHERE kind IN ({places}) {rest}"  # noqa: S608  places
    return [
        SideEntry(number, kind, key, at_utc, json.loads(body))
        for number, kind, key, at_utc, body in connection.execute(sql, (*wanted, *values))
    ]


def head(connection: sqlite3.Connection) -> str:
    """Return the newest entry's digest in hex, "" without one: who keeps it elsewhere sees later that nothing went."""
    row = connection.execute("SELECT digest FROM journal ORDER BY number DESC LIMIT 1").fetchone()
    return row["digest"].hex() if row else ""
