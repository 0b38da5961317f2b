# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which tables the journal follows, and how it names their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from vision_line.records.columns import SqlValue
from vision_line.records.journal import DETECTION_COLUMNS, Kind

Values = Mapping[str, SqlValue]

#: A minute under way changes every two seconds: it has its entry when it is over, or its run.
_SETTLED = "NOT NEW.provisional OR EXISTS (SELECT 1 FROM runs r WHERE r.run = NEW.run AND r.ended_utc IS NOT NULL)"


@dataclass(frozen=True, slots=True)
class JournalledTable:
    """A table whose rows have an entry of `kind` with each change; `key` are the columns that name one to people.

    `identity` are the columns of its primary key. `ignored` change too often, and prove nothing. Rows are followed
    only `when` that holds.
    """

    table: str
    kind: Kind
    identity: tuple[str, ...]
    key: tuple[str, ...]
    ignored: frozenset[str] = frozenset()
    when: str = ""

    def identity_of(self, row: Values) -> tuple[SqlValue, ...]:
        """Return what tells the row from all others of its table."""
        return tuple([row[column] for column in self.identity])

    def key_of(self, row: Values) -> str:
        """Return the row's name, unique within its run and kind."""
        return "/".join(str(row[column]) for column in self.key)

    def columns(self, connection: sqlite3.Connection) -> tuple[str, ...]:
        """Return the names of the columns that are followed, sorted.

        Raises:
            sqlite3.Error: as it comes.
        """
        if self.table == "detections":
            return DETECTION_COLUMNS
        names = (row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (self.table,)))
        return tuple(sorted(name for name in names if name not in self.ignored))


_OF_A_LIFE = frozenset({"alive_utc", "alive_boot_s"})

JOURNALLED = (
    JournalledTable("runs", Kind.RUN, ("run",), ("run_id",), _OF_A_LIFE),
    JournalledTable("cameras", Kind.CAMERA, ("run", "name", "since_utc"), ("name", "since_utc")),
    JournalledTable("events", Kind.EVENT, ("event",), ("event_id",)),
    JournalledTable("coverage", Kind.MINUTE, ("minute",), ("camera", "minute_utc", "clock"), when=_SETTLED),
    JournalledTable("not_inspected", Kind.INTERVAL, ("interval",), ("interval_id",)),
    JournalledTable("states", Kind.STATE, ("change",), ("camera", "change")),
    JournalledTable("evidence", Kind.EVIDENCE, ("evidence",), ("event_id",)),
    JournalledTable("clips", Kind.CLIP, ("clip",), ("clip_id",)),
    JournalledTable("near_misses", Kind.NEAR_MISS, ("near_miss",), ("near_miss_id",)),
    JournalledTable("audits", Kind.AUDIT, ("audit",), ("camera", "sequence")),
    JournalledTable("clock_steps", Kind.CLOCK_STEP, ("step",), ("clock",)),
    JournalledTable("removals", Kind.REMOVAL, ("removal",), ("removal",)),
)
DETECTIONS = JournalledTable("detections", Kind.DETECTIONS, ("detection",), ())
BY_KIND: Mapping[str, JournalledTable] = {table.kind: table for table in JOURNALLED}
#: Rows of older files have an entry when they change; these few are entered at once when such a file gets its journal.
ENTERED_AT_ONCE = ("runs", "cameras", "clock_steps", "removals")


def triggers(connection: sqlite3.Connection) -> list[str]:
    """Return the statements that have every change of the tables reported to the functions of `JournalWriter`.

    They are temporary: they end with the connection, and other programs that open the file do not meet them.

    Raises:
        sqlite3.Error: as it comes.
    """
    return [sql for table in (*JOURNALLED, DETECTIONS) for sql in _triggers_of(table, table.columns(connection))]


def _triggers_of(table: JournalledTable, columns: tuple[str, ...]) -> list[str]:
    new, old = (", ".join(f"{which}.{column}" for column in columns) for which in ("NEW", "OLD"))
    when = f" WHEN {table.when}" if table.when else ""
    written = f"{when} BEGIN SELECT journal_write('{table.table}', {new}); END"
    deleted = f" BEGIN SELECT journal_delete('{table.table}', {old}); END"
    then = [("INSERT", written), ("DELETE", deleted)]
    if table is not DETECTIONS:  # no detection changes
        then.append((f"UPDATE OF {', '.join(columns)}", written))
    return [
        f"CREATE TEMP TRIGGER journal_{table.table}_{event[:6]} AFTER {event} ON main.{table.table}{does}"
        for event, does in then
    ]
