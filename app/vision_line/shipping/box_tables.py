# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the rows of a box go: which table, what tells a row from all others, how it is written. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vision_line.records.journal import Kind
from vision_line.records.journal_tables import BY_KIND


@dataclass(frozen=True, slots=True)
class BoxTable:
    """A table of `records`. `key` tells its rows apart, `age` is the column that retention goes by, "" for none.

    `months`: it has a partition for each month of `age`. `is_numbered`: the database numbers its rows. `of_node`: it
    has a column `node`.
    """

    kind: Kind
    key: tuple[str, ...]
    age: str = ""
    months: bool = False
    is_numbered: bool = True
    of_node: bool = False

    @property
    def table(self) -> str:
        """Its name, in the database as in the box."""
        return BY_KIND[self.kind].table

    @property
    def number(self) -> str:
        """The column of its number in the box."""
        return BY_KIND[self.kind].identity[0]

    @property
    def name(self) -> str:
        """The one column behind `run` that names a row, "" where several do."""
        return self.key[1] if len(self.key) == 2 and self.is_numbered else ""


#: In the order in which rows refer to one another.
BOX_TABLES = (
    BoxTable(Kind.RUN, ("run",), is_numbered=False, of_node=True),
    BoxTable(Kind.CAMERA, ("run", "name", "since_utc"), is_numbered=False),
    BoxTable(Kind.CLOCK_STEP, ("run", "clock")),
    BoxTable(Kind.STATE, ("run", "box_change"), "at_utc"),
    BoxTable(Kind.EVENT, ("run", "event_id", "first_seen_utc"), "first_seen_utc", months=True),
    BoxTable(Kind.MINUTE, ("run", "camera", "minute_utc", "clock"), "minute_utc", months=True),
    BoxTable(Kind.INTERVAL, ("run", "interval_id"), "ended_utc"),
    BoxTable(Kind.EVIDENCE, ("run", "event_id"), "created_utc"),
    BoxTable(Kind.CLIP, ("run", "clip_id"), "created_utc"),
    BoxTable(Kind.NEAR_MISS, ("run", "near_miss_id"), "first_seen_utc"),
    BoxTable(Kind.AUDIT, ("run", "camera", "sequence"), "arrived_utc"),
    BoxTable(Kind.REMOVAL, ("removal",), is_numbered=False, of_node=True),
)
TABLE_OF: Mapping[str, BoxTable] = {table.kind: table for table in BOX_TABLES}

#: Columns that are not as they are in the box: what is read in their place.
_OTHERWISE = {
    "run": "x.run + %(offset)s",
    "removal": "x.removal + %(offset)s",
    # Entries of older versions of a box have none.
    **{name: f"coalesce(x.{name}, '')" for name in ("model_name", "model_sha256", "fleet")},
    "epoch": "coalesce(x.epoch, 0)",
}


def upsert_sql(table: BoxTable, box_columns: Sequence[str]) -> str:
    """Return the statement that writes rows: `rows` is a JSON list of them, as the box's journal has them.

    Each has its `entry` too, an event `first_entry`. `offset` is that of the node's numbers, `node` its name, `since`
    before which rows are not taken any more.
    """
    in_journal = (column for column in box_columns if column not in BY_KIND[table.kind].ignored)
    read = {column: _OTHERWISE.get(column, f"x.{column}") for column in in_journal}
    if table.is_numbered:
        number = read.pop(table.number)
        if table.kind is Kind.STATE:  # a name that no other row of its run ever had
            read["box_change"] = number
    if table.of_node:
        read["node"] = "%(node)s"
    read["entry"] = "x.entry"
    changed = [column for column in read if column not in table.key]
    if table.kind is Kind.EVENT:
        read["first_entry"] = "x.first_entry"
    # An interval that goes on has no end, and is never too old.
    where = f" WHERE coalesce(x.{table.age}, 'infinity'::float8) >= %(since)s" if table.age else ""
    return (
        f"INSERT INTO records.{table.table} ({', '.join(read)}) SELECT {', '.join(read.values())}"  # noqa: S608  ours
        f" FROM json_populate_recordset(NULL::records.{table.table}, %(rows)s::json) x{where}"
        f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE"
        f" SET {', '.join(f'{column} = excluded.{column}' for column in changed)}"
    )


def withdraw_sql(table: BoxTable) -> str:
    """Return the statement that moves a row of `run` and `key` to those that were taken back by entry `number`."""
    return (
        f"WITH gone AS (DELETE FROM records.{table.table} WHERE run = %(run)s AND {table.name} = %(key)s RETURNING *)"  # noqa: S608  the same
        " INSERT INTO plant.withdrawn SELECT %(node)s, %(number)s, %(kind)s, gone.run, %(key)s,"
        " row_to_json(gone)::text, %(at_utc)s FROM gone ON CONFLICT DO NOTHING"
    )
