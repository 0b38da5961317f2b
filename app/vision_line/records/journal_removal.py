# SPDX-License-Identifier: AGPL-3.0-or-later
"""The journal's oldest entries go with the rows that they speak of; what stays can still be checked.

What goes is the beginning. An entry that says how something still is (a run, a camera, an event with its image), or
what is doubtful, is carried to the end first. The entry that says so holds the digest of the last one that went: the
chain begins there. Nothing goes that does not fit: a beginning that somebody changed stays, to be found.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from vision_line.records.journal import NO_DIGEST, OF_ITS_RUN, JournalEntry, Kind, chained
from vision_line.records.journal_tables import BY_KIND
from vision_line.records.journal_writer import JournalWriter

logger = logging.getLogger(__name__)

#: For each row that went so many entries are looked through: a row has one to three, and others are carried meanwhile.
ENTRIES_PER_ROW = 4
#: At most so many at once: some 30 ms, for which results wait.
MOST_ENTRIES = 1000
#: The newest entries stay whatever is asked for: somebody may be reading them.
SPARED_S = 3600.0
#: Its entries say where the journal now begins.
KEY = "journal"

_COLUMNS = "number, run, kind, key, at_utc, body"
#: The newest stays: what is appended next stands on it.
_OLDEST = (
    f"SELECT {_COLUMNS}, digest FROM journal WHERE number < (SELECT max(number) FROM journal)"  # noqa: S608  a constant
    " ORDER BY number LIMIT ?"
)
_NEWER = """SELECT 1 FROM journal WHERE kind = ? AND key = ?{of_run} AND number > ?
    UNION ALL SELECT 1 FROM journal WHERE kind = 'carried' AND key = ?{of_run} AND number > ? LIMIT 1"""
_NEWER_OF_RUN, _NEWER_OF_ANY = _NEWER.format(of_run=" AND run = ?"), _NEWER.format(of_run="")
_LAST_REMOVAL = "SELECT body FROM journal WHERE kind = 'removal' AND key = ? ORDER BY number DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the journal begins: behind entry `through`, whose digest is `digest`.

    `began_utc` is when its very first entry was written, and `before` the highest row of each table that was there
    already.
    """

    through: int
    digest: bytes
    began_utc: float
    before: dict[str, int]


class _AnchorBody(TypedDict):
    """What the first entry says, and more of it the entry of a removal."""

    through: int
    digest: str
    began_utc: float
    before: dict[str, int]


def read_anchor(connection: sqlite3.Connection) -> Anchor:
    """Return where the journal begins.

    Raises:
        ValueError, KeyError, TypeError: no entry says so.
        sqlite3.Error: as it comes.
    """
    removal = connection.execute(_LAST_REMOVAL, (KEY,)).fetchone()
    if removal is not None:
        said: _AnchorBody = json.loads(removal[0])
        return _anchor(said, int(said["through"]), bytes.fromhex(said["digest"]))
    begin = connection.execute("SELECT body FROM journal WHERE number = 1 AND kind = 'begin'").fetchone()
    if begin is None:
        raise ValueError("the journal has no beginning")
    return _anchor(json.loads(begin[0]), 0, NO_DIGEST)


def _anchor(said: _AnchorBody, through: int, digest: bytes) -> Anchor:
    before = {table: int(number) for table, number in dict(said["before"]).items()}
    return Anchor(through, digest, float(said["began_utc"]), before)


def remove_entries(
    connection: sqlite3.Connection, journal: JournalWriter, why: str, *, removed_rows: int, by_size: bool
) -> int:
    """Remove the oldest entries when rows went, and enter that; return how many. To be called in a transaction.

    Entries stay as long as detections that were entered before them, and, unless it is about the file's size, as
    minutes.

    Raises:
        sqlite3.Error: as it comes.
    """
    kept_by = {Kind.DETECTIONS} if by_size else {Kind.DETECTIONS, Kind.MINUTE}
    try:
        rows = connection.execute(_OLDEST, (min(MOST_ENTRIES, removed_rows * ENTRIES_PER_ROW),)).fetchall()
        entries, digests = [JournalEntry(*row[:6]) for row in rows], [row[6] for row in rows]
        anchor = read_anchor(connection)
        if not _fits(anchor, entries, digests):
            raise ValueError("its beginning does not hold")
        going, carried = _beginning(connection, entries, kept_by)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, sqlite3.Error) as exc:
        if isinstance(exc, sqlite3.Error) and not (is_bad_text(exc) or isinstance(exc, sqlite3.ProgrammingError)):
            raise
        logger.error("the journal is not shortened: %s; vision-line verify says more", exc)
        return 0
    if not going:
        return 0
    for entry in carried:
        key = entry.key if entry.kind == Kind.CARRIED else f"{entry.kind}/{entry.key}"
        journal.append(Kind.CARRIED, key, entry.body, entry.run)
    journal.append(Kind.REMOVAL, KEY, _removal(anchor, going, digests[len(going) - 1], why))
    connection.execute("DELETE FROM journal WHERE number <= ?", (going[-1].number,))
    return len(going)


def _removal(anchor: Anchor, going: Sequence[JournalEntry], digest: bytes, why: str) -> dict[str, object]:
    return {
        "removed_from": "journal",
        "through": going[-1].number,
        "digest": digest.hex(),
        "rows": len(going),
        "from_utc": going[0].at_utc,
        "to_utc": going[-1].at_utc,
        "began_utc": anchor.began_utc,
        "before": anchor.before,
        "why": why,
    }


def _beginning(
    connection: sqlite3.Connection, entries: Sequence[JournalEntry], kept_by: set[Kind]
) -> tuple[list[JournalEntry], list[JournalEntry]]:
    """Return the entries that go, and which of them must be carried to the end before."""
    going: list[JournalEntry] = []
    carried: list[JournalEntry] = []
    now_utc = time.time()
    for entry in entries:
        if now_utc - SPARED_S < entry.at_utc <= now_utc:
            break
        if _is_in_force(connection, entry):
            if kind_of(entry)[0] in kept_by:
                break
            carried.append(entry)
        going.append(entry)
    return going, carried


def kind_of(entry: JournalEntry) -> tuple[str, str]:
    """Return the kind and key of what an entry says, whether it was carried or not."""
    if entry.kind != Kind.CARRIED:
        return entry.kind, entry.key
    kind, _, key = entry.key.partition("/")
    return kind, key


def _is_in_force(connection: sqlite3.Connection, entry: JournalEntry) -> bool:
    """Whether an entry says how something is now."""
    kind, key = kind_of(entry)
    if kind == Kind.DETECTIONS:
        _, first, last = key.split("/")
        sql = "SELECT 1 FROM detections WHERE detection BETWEEN ? AND ? LIMIT 1"
        return connection.execute(sql, (int(first), int(last))).fetchone() is not None
    if kind == Kind.DOUBT:  # of minutes and parts, which are kept for longer than detections; there are few
        return True
    if kind != Kind.CONFIGURATION and not _is_there(connection, kind, entry):
        return False
    carried = f"{kind}/{key}"
    if kind == Kind.CONFIGURATION and not key.startswith(OF_ITS_RUN):  # else an older run's would come behind a newer's
        newer = connection.execute(_NEWER_OF_ANY, (kind, key, entry.number, carried, entry.number))
    else:
        asked = (kind, key, entry.run, entry.number, carried, entry.run, entry.number)
        newer = connection.execute(_NEWER_OF_RUN, asked)
    return newer.fetchone() is None


def _is_there(connection: sqlite3.Connection, kind: str, entry: JournalEntry) -> bool:
    """Whether the row that an entry speaks of is there, and is not another one that got its number."""
    table, body = BY_KIND.get(kind), json.loads(entry.body)
    if table is None or body.get("withdrawn") or table.identity[0] not in body:
        return False
    named = [column for column in {*table.identity, *table.key, "run"} if column in body]
    where = " AND ".join(f"{column} = ?" for column in named)
    sql = f"SELECT 1 FROM {table.table} WHERE {where}"  # noqa: S608  names, of this package
    return connection.execute(sql, [body[column] for column in named]).fetchone() is not None


def _fits(anchor: Anchor, entries: Sequence[JournalEntry], digests: Sequence[bytes]) -> bool:
    """Whether the entries that go are those that were written."""
    previous, number = anchor.digest, anchor.through
    for entry, digest in zip(entries, digests, strict=True):
        previous, number = chained(previous, entry), number + 1
        if (entry.number, digest) != (number, previous):
            return False
    return True


def is_bad_text(exc: sqlite3.Error) -> bool:
    """Whether a text in a file is none: Python's own word of it, which has no code of SQLite's."""
    return not hasattr(exc, "sqlite_errorcode") and str(exc).startswith("Could not decode to UTF-8")
