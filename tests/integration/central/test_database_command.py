# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line database` on a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import psycopg
import pytest
from tests.fakes.postgres import PostgresServer
from typer.testing import CliRunner

from vision_line.central.database_connection import connected
from vision_line.central.database_url import parsed
from vision_line.central.schema_steps import SCHEMA_VERSION, bring_up_to_date, found_schema
from vision_line.cli.main import cli
from vision_line.records.schema import OBJECTS


def ended(*words: str, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
    """Run the command, and return what it said."""
    done = CliRunner().invoke(cli, ["database", *words], env=environment)
    assert done.exit_code == code, done.output
    return done.output


def test_made_once_and_shown(empty_database: str) -> None:
    """A second `init` changes nothing and says so."""
    assert f"schema {SCHEMA_VERSION}" in ended("init", "--database", empty_database)
    assert "already" in ended("init", "--database", empty_database, code=2)
    assert "up to date" in ended("migrate", "--database", empty_database)

    shown = json.loads(ended("status", "--json", "--database", empty_database))

    assert shown == {"schema": SCHEMA_VERSION, "nodes": []}


def test_the_url_may_be_in_the_environment(empty_database: str) -> None:
    """A command line is seen by everybody on the machine."""
    url = empty_database.replace("postgres@", "{PLANT_USER}:{PLANT_PASSWORD}@")
    environment = {"VISION_LINE_DATABASE": url, "PLANT_USER": "postgres", "PLANT_PASSWORD": "a/b@c"}

    shown = ended("init", environment=environment)

    assert "a/b@c" not in shown
    assert "a%2Fb%40c" not in shown


def test_a_database_without_tables(empty_database: str) -> None:
    """Nothing is made by the way."""
    assert "database init makes them" in ended("migrate", "--database", empty_database, code=2)
    assert "database init makes them" in ended("status", "--database", empty_database, code=2)


def test_an_unreachable_server_is_named_without_its_password() -> None:
    """The sentence names host and database."""
    said = ended("status", "--database", "postgresql://me:secret7@127.0.0.1:1/plant", code=4)

    assert "secret7" not in said
    assert "127.0.0.1" in said


def test_a_wrong_password_is_not_shown(postgres: PostgresServer, empty_database: str) -> None:
    """What the server quotes is not the password either."""
    url = empty_database.replace("postgres@", "nobody:secret8@")

    assert "secret8" not in ended("status", "--database", url, code=4)


def test_a_newer_database(empty_database: str) -> None:
    """This version goes on as long as it is one of the writers that are still taken."""
    ended("init", "--database", empty_database)
    newer = SCHEMA_VERSION + 1
    entered = "INSERT INTO plant.schema_version VALUES (%s, %s, 0, 'later')"
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(entered, (newer, SCHEMA_VERSION))
        assert f"schema {newer}" in ended("status", "--database", empty_database)
        assert f"knows {SCHEMA_VERSION}" in ended("migrate", "--database", empty_database, code=4)
        connection.execute("UPDATE plant.schema_version SET oldest_writer = version WHERE version = %s", (newer,))

    assert "update it" in ended("status", "--database", empty_database, code=2)


def test_two_who_make_it_at_once(empty_database: str) -> None:
    """One makes it, and the other finds it made."""
    said: list[Any] = []

    def make() -> None:
        try:
            with connected(parsed(empty_database)) as connection:
                said.append(bring_up_to_date(connection, is_new=True))
        except Exception as exc:  # noqa: BLE001 - looked at below
            said.append(exc)

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(isinstance(one, list) for one in said) == 1
    with connected(parsed(empty_database)) as connection:
        assert found_schema(connection).version == SCHEMA_VERSION


#: Beside what a box has, by table: what makes it one of many.
ADDED = {"runs": {"node"}, "states": {"box_change"}, "events": {"first_entry"}, "removals": {"node"}}


def test_records_have_the_columns_of_a_box(empty_database: str) -> None:
    """What is added to a record file without a place here would be lost on the way."""
    import sqlite3
    from contextlib import closing

    ended("init", "--database", empty_database)
    with closing(sqlite3.connect(":memory:")) as box, psycopg.connect(empty_database) as connection:
        for sql in OBJECTS:
            box.execute(sql)
        tables = [name for (name,) in box.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            own = {row[1] for row in box.execute(f"PRAGMA table_info({table})")}
            there = connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'records' AND table_name = %s",
                (table,),
            )
            extra = {"node"} if table == "journal" else {"entry"} | ADDED.get(table, set())
            assert {name for (name,) in there} == own | extra, table


@pytest.mark.parametrize("table", ["events", "coverage", "detections"])
def test_months(empty_database: str, table: str) -> None:
    """A month is made once; what no clock shows has a place too."""
    ended("init", "--database", empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        for at_utc in (1_795_896_000.0, 1_795_896_001.0, 0.0, -1.0, 1e12, float("nan")):
            connection.execute("SELECT plant.ensure_month(%s, %s)", (table, at_utc))
        made = connection.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = %s::regclass ORDER BY 1",
            (f"records.{table}",),
        ).fetchall()

    assert [name for (name,) in made] == [f"{table}_1970_01", f"{table}_2026_11", f"{table}_elsewhen"]
