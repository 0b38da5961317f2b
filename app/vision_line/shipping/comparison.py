# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the database has what a box has: each row of the box as it is there, and the digests of its entries.

The database compares: it gets the box's rows in pieces, and says which of them it has not so.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vision_line.central.numbers import offset_of
from vision_line.outputs.cursor import BEGINNING, JournalName, JournalPosition
from vision_line.parts.part_entries import PART_COLUMNS
from vision_line.parts.parts_file import PARTS_FILE
from vision_line.records.journal import Kind
from vision_line.records.schema import open_reader
from vision_line.records.side_file import SideFile
from vision_line.reviews.reviews_file import REVIEWS_FILE
from vision_line.shipping.box_tables import BOX_TABLES, BoxTable
from vision_line.shipping.row_fold import clean
from vision_line.shipping.shipped_sources import ShippedSources

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

_ROWS = 5000
_NODE = "SELECT number FROM plant.nodes WHERE node = %s"
_PLACES = "SELECT journal, number, digest FROM plant.shipment WHERE node = %s AND number > 0 ORDER BY journal"
_HEADS = "SELECT journal, number, digest FROM plant.heads WHERE node = %s ORDER BY journal, number"
#: A minute under way changes meanwhile.
_SETTLED = {"coverage": " WHERE provisional = 0"}
_ANSWERS = (
    *("number", "key", "kind", "run_id", "id", "person", "at_utc", "verdict", "class", "is_second", "stratum"),
    *("inclusion", "submission", "withdrawn"),
)


_EVENT = ("number", "run_id", "event_id")


@dataclass(frozen=True, slots=True)
class SideTable:
    """A table of a side file: its schema, key and columns; `offsets` are its columns of numbers of entries."""

    schema: str
    table: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    offsets: tuple[str, ...]


_SIDE_TABLES: Sequence[tuple[SideFile, Sequence[SideTable]]] = (
    (
        PARTS_FILE,
        (
            SideTable("parts", "parts", ("number",), (*PART_COLUMNS, "corrected"), ("number", "corrected")),
            SideTable("parts", "part_events", _EVENT, _EVENT, ("number",)),
            SideTable("parts", "lots", ("number",), ("number", "lane", "lot", "begun_utc"), ("number",)),
        ),
    ),
    (REVIEWS_FILE, (SideTable("reviews", "answers", ("number",), _ANSWERS, ("number", "withdrawn")),)),
)


def differences(directory: Path, connection: Connection[TupleRow], node: str) -> Iterator[str]:
    """Yield what the database has otherwise than the records of `directory`, or not at all; they are still meanwhile.

    Raises:
        RunError: the records cannot be read.
        psycopg.Error: as it comes.
    """
    found = connection.execute(_NODE, (node,)).fetchone()
    if found is None:
        yield f"the database has no node {node!r}"
        return
    offset = offset_of(found[0])
    with closing(ShippedSources(directory)) as sources:
        yield from _other_entries(sources, connection, node)
    with closing(open_reader(directory)) as box:
        for table in BOX_TABLES:
            columns = [row[1] for row in box.execute(f"PRAGMA table_info({table.table})")]
            rows = box.execute(f"SELECT * FROM {table.table}{_SETTLED.get(table.table, '')}")  # noqa: S608  ours
            yield from _missing(connection, table.table, _found_sql(table, columns), rows, offset)
    for file, tables in _SIDE_TABLES:
        box_file = file.reader(directory)
        if box_file is not None:
            with closing(box_file):
                for side in tables:
                    rows = box_file.execute(f"SELECT {', '.join(side.columns)} FROM {side.table}")  # noqa: S608  ours
                    yield from _missing(connection, f"{side.schema}.{side.table}", _side_sql(side), rows, offset)


def _other_entries(sources: ShippedSources, connection: Connection[TupleRow], node: str) -> Iterator[str]:
    places = [(JournalName(name), JournalPosition(*place)) for name, *place in connection.execute(_PLACES, (node,))]
    heads = [(JournalName(name), JournalPosition(*place)) for name, *place in connection.execute(_HEADS, (node,))]
    for journal, place in places:
        newest = sources[journal].newest() or BEGINNING
        if newest.number > place.number:
            yield f"the {journal}: {newest.number - place.number} entries are not shipped yet"
    for journal, place in (*heads, *places):
        reading = sources[journal].read_entries(place, 1)
        if reading is None or reading.is_fork:
            yield f"the {journal}: entry {place.number} is not the one that was shipped"


def _missing(
    connection: Connection[TupleRow], name: str, sql: str, rows: Iterable[sqlite3.Row], offset: int
) -> Iterator[str]:
    for piece in _pieces(rows):
        text = clean(json.dumps(piece, ensure_ascii=False))
        for (said,) in connection.execute(sql.encode(), {"rows": text, "offset": offset}):
            yield f"{name}: {said} is otherwise or not there"


def _pieces(rows: Iterable[sqlite3.Row]) -> Iterator[list[dict[str, object]]]:
    piece: list[dict[str, object]] = []
    for row in rows:
        piece.append(dict(row))
        if len(piece) == _ROWS:
            yield piece
            piece = []
    if piece:
        yield piece


def _found_sql(table: BoxTable, box_columns: Sequence[str]) -> str:
    own = {table.number} if table.is_numbered else {"node"} if table.of_node else set()
    columns = [name for name in box_columns if name not in own]
    key = [name for name in table.key if name != "box_change"]
    same = [f"t.{name} {_compared(name in key)} x.{name}{_plus(name)}" for name in columns]
    if table.kind is Kind.STATE:
        same.append("t.box_change = x.change")
    named = " || ' ' || ".join(f"x.{name}" for name in key if name != "run") or "x.run"
    return (
        f"SELECT 'run ' || {'0' if table.table == 'removals' else 'x.run'} || ': ' || ({named})"  # noqa: S608  ours
        f" FROM json_populate_recordset(NULL::records.{table.table}, %(rows)s::json) x"
        f" WHERE NOT EXISTS (SELECT 1 FROM records.{table.table} t WHERE {' AND '.join(same)})"
        " AND %(offset)s IS NOT NULL"
    )


def _compared(is_key: bool) -> str:
    """Return how a column is compared: by `=` an index finds the row."""
    return "=" if is_key else "IS NOT DISTINCT FROM"


def _plus(name: str) -> str:
    return " + %(offset)s" if name in {"run", "removal"} else ""


def _side_sql(side: SideTable) -> str:
    same = (
        f"t.{name} {_compared(name in side.key)} x.{name}{' + %(offset)s' if name in side.offsets else ''}"
        for name in side.columns
    )
    return (
        f"SELECT x.{side.key[0]}::text FROM json_populate_recordset(NULL::{side.schema}.{side.table}, %(rows)s::json) x"  # noqa: S608  ours
        f" WHERE NOT EXISTS (SELECT 1 FROM {side.schema}.{side.table} t WHERE {' AND '.join(same)})"
    )
