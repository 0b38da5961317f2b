# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the journal of a side file is what was written."""

from __future__ import annotations

import sqlite3

from vision_line.records.journal import JournalEntry, chained
from vision_line.records.side_removal import kept_problem, read_anchor

_ROWS = "SELECT number, kind, key, at_utc, body, digest FROM journal WHERE number > ? ORDER BY number"


def chain_problem(connection: sqlite3.Connection) -> str:
    """Return which entry is not as it was written, the first one; "" where all are.

    Raises:
        ValueError, KeyError, TypeError: the entry that should say where the journal begins does not.
        sqlite3.Error: as it comes.
    """
    anchor = read_anchor(connection)
    previous, expected = anchor.digest, anchor.through + 1
    for row in connection.execute(_ROWS, (anchor.through,)):
        number, kind, key, at_utc, body, digest = row
        entry = JournalEntry(number, 0, kind, key, at_utc, body)
        if number != expected or chained(previous, entry) != digest:
            return f"entry {expected} is not what was written"
        previous, expected = digest, expected + 1
    return kept_problem(connection, anchor) if anchor.entry else ""
