# SPDX-License-Identifier: AGPL-3.0-or-later
"""From when on tables have all their rows: what was removed before says nothing about its time."""

from __future__ import annotations

from vision_line.records.columns import Table
from vision_line.records.records import Records

#: What a clock labelled that was ahead says nothing.
_REMOVED_UNTIL = """SELECT max(to_utc) FROM removals
    WHERE removed_from IN ({places}) AND to_utc <= at_utc"""


def known_since_utc(connection: Records, *tables: Table) -> float:
    """Return from when on these tables have all their rows: the oldest are removed first. 0: nothing was removed.

    Raises:
        Error: the database's, as it comes.
    """
    (removed_utc,) = connection.execute(
        _REMOVED_UNTIL.format(places=", ".join("?" * len(tables))), tuple(map(str, tables))
    ).fetchone()
    return removed_utc or 0.0
