# SPDX-License-Identifier: AGPL-3.0-or-later
"""Records of a box as the database has them, copied table by table."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg

#: A run's number, and that of an entry, is the box's own plus so much times the box's.
BOX = 2**40
_RECORDS = (
    *("runs", "cameras", "events", "coverage", "not_inspected", "states", "evidence", "clips", "near_misses"),
    *("audits", "clock_steps"),
)
#: Numbers of rows that the database gives.
_GIVEN_HERE = {"events": "event", "coverage": "minute"}
_BESIDE = {"parts": ("journal", "parts", "part_events", "lots"), "reviews": ("journal", "answers")}
_JOURNALLED = ("configuration", "carried", "run", "seal", "removal", "clock_step", "begin")


def copy_box(directory: Path, url: str, node: str) -> None:
    """Copy the records of a directory into the database, as of a box of this name."""
    with psycopg.connect(url) as database:
        (number,) = database.execute(
            "INSERT INTO plant.nodes (node, host, directory, version, added_utc, seen_utc, box_utc, database_utc,"
            " clock_offset_s) VALUES (%s, 'host', '/records', '0.1.0', 0, extract(epoch FROM now()), 0, 0, 0)"
            " RETURNING number",
            (node,),
        ).fetchone() or (0,)
        with closing(_opened(directory / "records.sqlite")) as file:
            for table in _RECORDS:
                _copy(file, database, f"records.{table}", f"SELECT * FROM {table}", number, node)
            places = ", ".join("?" * len(_JOURNALLED))
            sql = f"SELECT * FROM journal WHERE kind IN ({places})"
            _copy(file, database, "records.journal", sql, number, node, _JOURNALLED)
            head = file.execute("SELECT number, digest, at_utc FROM journal ORDER BY number DESC LIMIT 1").fetchone()
            database.execute(
                "INSERT INTO plant.shipment (node, journal, number, digest, at_utc, shipped_utc)"
                " VALUES (%s, 'records', %s, %s, %s, extract(epoch FROM now()))",
                (node, *head),
            )
        for schema, tables in (
            ("parts", ("journal", "parts", "part_events", "lots")),
            ("reviews", ("journal", "answers")),
        ):
            path = directory / f"{schema}.sqlite"
            if path.is_file():
                with closing(_opened(path)) as file:
                    for table in tables:
                        _copy(file, database, f"{schema}.{table}", f"SELECT * FROM {table} ORDER BY 1", number, node)


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    return connection


def _copy(
    file: sqlite3.Connection,
    database: psycopg.Connection[Any],
    table: str,
    sql: str,
    number: int,
    node: str,
    parameters: tuple[str, ...] = (),
) -> None:
    schema, _, name = table.partition(".")
    columns = [
        (column, identity)
        for column, identity in database.execute(
            "SELECT column_name, is_identity = 'YES' FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s",
            (schema, name),
        )
    ]
    wanted = [column for column, identity in columns if not identity and column != _GIVEN_HERE.get(name)]
    with database.cursor() as cursor:
        for row in file.execute(sql, parameters):
            own: dict[str, object] = {**dict(row), "node": node, "entry": 0, "first_entry": 0}
            own |= {"box_change": own.get("change")}
            for key in ("run", "number", "corrected", "withdrawn"):
                value = own.get(key)
                if isinstance(value, int) and (key != "run" or value):
                    own[key] = value + number * BOX
            names = [column for column in wanted if column in own]
            insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
            cursor.execute(insert.encode(), [own[column] for column in names])
