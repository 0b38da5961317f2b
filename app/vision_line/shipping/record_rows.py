# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes what the records' journal says into the schema `records`, within the caller's transaction."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from vision_line.central.numbers import offset_of
from vision_line.outputs.cursor import JournalPosition
from vision_line.outputs.message_sink import SinkError, SinkTrouble
from vision_line.records.journal import DETECTION_COLUMNS, JournalEntry, Kind, canonical
from vision_line.records.journal_removal import kind_of
from vision_line.records.schema import FILE_NAME, open_reader, translated
from vision_line.shipping.box_tables import BOX_TABLES, TABLE_OF, BoxTable, upsert_sql, withdraw_sql
from vision_line.shipping.fleet_name import other_name
from vision_line.shipping.owner_rows import OwnerRows
from vision_line.shipping.row_fold import RowName, RowText, clean, clean_text, fold, is_kept, rows_json
from vision_line.shipping.shipping_node import ShippingNode

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

_COLUMNS = "SELECT name FROM pragma_table_info(?) ORDER BY cid"
_DETECTIONS = f"SELECT {', '.join(DETECTION_COLUMNS)} FROM detections WHERE detection BETWEEN ? AND ? AND run = ?"  # noqa: S608  ours
_SINCE = "SELECT coalesce(max(before_utc), '-infinity') FROM plant.prunings"
_MONTH = "SELECT plant.ensure_month(%s, %s)"
_RUNS = "SELECT run FROM records.runs WHERE node = %s"
#: Of each run of the box what its journal says last.
_NEWEST_OF_RUNS = """SELECT number, run, kind, key, at_utc, body FROM journal WHERE number IN
    (SELECT max(number) FROM journal WHERE kind = 'run' OR (kind = 'carried' AND key GLOB 'run/*') GROUP BY run)"""
_OF_OTHERS = """SELECT r.run_id, r.node FROM records.runs r
    JOIN json_populate_recordset(NULL::records.runs, %(rows)s::json) x USING (run_id) WHERE r.node <> %(node)s"""
_ENTRIES = """INSERT INTO records.journal (number, node, run, kind, key, at_utc, body, digest)
    SELECT u.number, %s, u.run, u.kind, u.key, u.at_utc, u.body, u.digest
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::float8[], %s::text[], %s::bytea[])
        u(number, run, kind, key, at_utc, body, digest) ON CONFLICT DO NOTHING"""
_UPSERT_DETECTIONS = (
    f"INSERT INTO records.detections ({', '.join(DETECTION_COLUMNS)}, entry)"  # noqa: S608  ours
    f" SELECT {', '.join('x.run + %(offset)s' if name == 'run' else f'x.{name}' for name in DETECTION_COLUMNS)},"
    " %(entry)s FROM json_populate_recordset(NULL::records.detections, %(rows)s::json) x ON CONFLICT DO NOTHING"
)
#: Where a body says when something was, and which run it is.
_NUMBER = r'[{{,]"{}":(-?[0-9.]+(?:e[-+]?[0-9]+)?)[,}}]'
_AGES = {table.kind: re.compile(_NUMBER.format(table.age)) for table in BOX_TABLES if table.months}
_DAY_S = 86_400


class RecordRows:
    """Writes rows of one node; what the database has is known as long as its connection."""

    def __init__(self, directory: Path, *, ship_detections: bool) -> None:
        """Read from the records of `directory` which columns a row has there."""
        self._directory = directory
        self._ship_detections = ship_detections
        self._upserts: dict[str, str] = {}
        self._days: set[tuple[str, int]] = set()
        self._runs: set[int] | None = None  # those that are there, by the box's numbers
        self._owners = OwnerRows()

    def begin_anew(self) -> None:
        """Ask again what there is: the connection is another one, or what was written was rolled back."""
        self._days.clear()
        self._runs = None
        self._upserts.clear()
        self._owners.begin_anew()

    async def apply(
        self,
        connection: AsyncConnection[TupleRow],
        node: ShippingNode,
        entries: Sequence[tuple[JournalEntry, JournalPosition]],
    ) -> None:
        """Write what `entries` say.

        Raises:
            SinkError: a run of them is another node's.
            RunError: the box's records cannot be read.
            psycopg.Error: as it comes.
        """
        cursor = await connection.execute(_SINCE)
        (since,) = await cursor.fetchone() or (float("-inf"),)
        asked = {"offset": offset_of(node.number), "node": node.name, "since": since}
        said = [entry for entry, _ in entries]
        changes_of_owners = await self._owners.before(connection, node, said)
        said = [*await self._late_runs(connection, node, said), *said]
        for changes in fold(said):
            for table in BOX_TABLES:
                if rows := changes.rows.get(table.kind):
                    await self._write(connection, table, rows, asked)
            for entry in changes.withdrawn:
                await _withdraw(connection, entry, asked)
        await self._owners.follow(connection, node, said, changes_of_owners)
        await _keep(connection, asked, [one for one in entries if is_kept(one[0])])
        if self._ship_detections:
            for entry, _ in entries:
                if entry.kind == Kind.DETECTIONS:
                    await self._write_detections(connection, entry, asked)

    async def _late_runs(
        self, connection: AsyncConnection[TupleRow], node: ShippingNode, entries: Sequence[JournalEntry]
    ) -> list[JournalEntry]:
        """Return the entries of runs that come behind what refers to them.

        What says how a run is may have been carried to the journal's end before its other entries were shipped.
        """
        if self._runs is None:
            cursor = await connection.execute(_RUNS, (node.name,))
            self._runs = {run - offset_of(node.number) for (run,) in await cursor.fetchall()}
        first = {entry.run: entry for entry in reversed(entries) if entry.run and entry.run not in self._runs}
        late = {run for run, entry in first.items() if kind_of(entry)[0] != Kind.RUN}
        if not late:
            return []
        with translated(self._directory / FILE_NAME, "reading"), closing(open_reader(self._directory)) as box:
            newest = [JournalEntry(*row) for row in box.execute(_NEWEST_OF_RUNS)]
        return [entry for entry in newest if entry.run in late]

    async def _write(
        self,
        connection: AsyncConnection[TupleRow],
        table: BoxTable,
        rows: Mapping[RowName, RowText],
        asked: Mapping[str, object],
    ) -> None:
        text = rows_json(rows.values())
        if table.kind is Kind.RUN:
            for row in rows.values():
                if problem := other_name(json.loads(row.body), str(asked["node"])):
                    raise SinkError(SinkTrouble.REFUSED, problem)
            await _check_runs(connection, {**asked, "rows": text})
        if table.months:
            found = (_AGES[table.kind].search(row.body) for row in rows.values())
            await self._ensure_months(connection, table.table, (float(age[1]) for age in found if age))
        await connection.execute(self._upsert(table).encode(), {**asked, "rows": text})
        if table.kind is Kind.RUN and self._runs is not None:
            self._runs.update(name.run for name in rows)

    async def _ensure_months(
        self, connection: AsyncConnection[TupleRow], table: str, moments_utc: Iterable[float]
    ) -> None:
        for day in {int(at_utc // _DAY_S) for at_utc in moments_utc}:
            if (table, day) not in self._days:
                await connection.execute(_MONTH, (table, float(day * _DAY_S)))
                self._days.add((table, day))

    def _upsert(self, table: BoxTable) -> str:
        if not self._upserts:
            with closing(open_reader(self._directory)) as box:
                self._upserts = {
                    one.kind: upsert_sql(one, [name for (name,) in box.execute(_COLUMNS, (one.table,))])
                    for one in BOX_TABLES
                }
        return self._upserts[table.kind]

    async def _write_detections(
        self, connection: AsyncConnection[TupleRow], entry: JournalEntry, asked: Mapping[str, object]
    ) -> None:
        """Write a group of detections: the journal has only their digest."""
        _, first, last = entry.key.split("/")
        with closing(open_reader(self._directory)) as box:
            rows = [dict(row) for row in box.execute(_DETECTIONS, (int(first), int(last), entry.run))]
        if rows:
            await self._ensure_months(connection, "detections", {row["arrived_utc"] for row in rows})
            text = clean(canonical(rows))
            await connection.execute(_UPSERT_DETECTIONS.encode(), {**asked, "rows": text, "entry": entry.number})


async def _withdraw(connection: AsyncConnection[TupleRow], entry: JournalEntry, asked: Mapping[str, object]) -> None:
    table = TABLE_OF[entry.kind]
    if not table.name:
        raise SinkError(SinkTrouble.FAILED, f"entry {entry.number} takes back a row of {table.table}")
    run = entry.run + int(str(asked["offset"]))
    said = {"run": run, "key": clean_text(entry.key), "number": entry.number, "at_utc": entry.at_utc}
    await connection.execute(withdraw_sql(table).encode(), {**asked, **said, "kind": entry.kind})


async def _keep(
    connection: AsyncConnection[TupleRow],
    asked: Mapping[str, object],
    entries: Sequence[tuple[JournalEntry, JournalPosition]],
) -> None:
    if not entries:
        return
    offset = int(str(asked["offset"]))
    columns = zip(
        *(
            (
                *(entry.number + offset, entry.run + offset if entry.run else 0, entry.kind, clean_text(entry.key)),
                *(entry.at_utc, clean_text(entry.body), position.digest),
            )
            for entry, position in entries
        ),
        strict=True,
    )
    await connection.execute(_ENTRIES, (asked["node"], *map(list, columns)))


async def _check_runs(connection: AsyncConnection[TupleRow], asked: Mapping[str, object]) -> None:
    """Have nothing counted twice: a run is of one node.

    Raises:
        SinkError: one is of another node already.
    """
    cursor = await connection.execute(_OF_OTHERS, asked)
    if (row := await cursor.fetchone()) is not None:
        raise SinkError(
            SinkTrouble.TAKEN_OVER,
            f"run {row[0]} is in the database already, from the node {row[1]!r}: these records are a copy of that"
            " node's; a box of its own needs records of its own",
        )
