# SPDX-License-Identifier: AGPL-3.0-or-later
"""One changed byte, anywhere in records that ended, is named by `verify`; so is an end that was taken away.

Anywhere is: in every column of every table, in the journal, in the bytes of the record file, in images, clips and
images for review. Bytes of the file that hold nothing (free pages, the rest of a page, SQLite's counters) may change:
what the file says is then the same, and that is how they are told. Not proven either is a run's sign of life.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from vision_line.errors import BrokenRecordError, RunError
from vision_line.records.file_tables import FILE_TABLES
from vision_line.records.schema import FILE_NAME, open_writer

from .test_journal import verified
from .test_stored_files import NOW, add_row

#: How many bytes of the file are changed, one at a time; the environment may ask for more.
FLIPS = int(os.environ.get("VISION_LINE_FLIPS", "250"))
#: Columns that prove nothing, as docs/records.md says: of the last sign of life.
NOT_PROVEN = {("runs", "alive_utc"), ("runs", "alive_boot_s")}


@pytest.fixture
def ended(written: Path) -> Path:
    """Records of a run that ended with rows in every table that has files, in one file that is whole."""
    with closing(open_writer(written / FILE_NAME)) as connection:
        for table in FILE_TABLES.values():
            if table.table != "evidence":
                add_row(connection, written, table, 1, NOW)
        connection.execute("PRAGMA journal_mode=DELETE")
    assert verified(written, images=True).images
    return written


def flipped(value: object, drawn: random.Random) -> object:
    """Return a value of the same type that differs in one byte."""
    if isinstance(value, int):
        return value ^ (1 << drawn.randrange(8))
    if isinstance(value, float):
        return struct.unpack("<d", flip_in(struct.pack("<d", value), drawn.randrange(7), drawn))[0]
    if isinstance(value, bytes):
        return flip_in(value, drawn.randrange(len(value)), drawn)
    text = str(value)
    place = drawn.randrange(len(text)) if text else 0
    return f"{text[:place]}{'x' if text[place : place + 1] != 'x' else 'y'}{text[place + 1 :]}"


def flip_in(data: bytes, place: int, drawn: random.Random) -> bytes:
    changed = bytearray(data)
    changed[place] ^= drawn.randrange(1, 256)
    return bytes(changed)


def said(path: Path) -> list[tuple[object, ...]]:
    """Return everything that a record file says, row by row, with what it is made of."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        tables = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").fetchall()
        rows: list[tuple[object, ...]] = [*tables]
        for kind, name, *_ in tables:
            if kind == "table":
                columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
                wanted = ", ".join(f"quote({one})" for one in columns if (name, one) not in NOT_PROVEN)
                rows += connection.execute(f"SELECT {wanted} FROM {name} ORDER BY 1")
        return rows


def cells(path: Path) -> Iterator[tuple[str, str, int, object]]:
    """Return every value of every table: table, column, row id, value."""
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in names:
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                for number, value in connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall():
                    yield table, column, number, value


def test_a_byte_in_any_value_is_named(ended: Path) -> None:
    """Of every column of every table that has rows, also of the journal itself."""
    drawn, path = random.Random(1), ended / FILE_NAME
    found = [cell for cell in cells(path) if cell[3] is not None and cell[:2] not in NOT_PROVEN]
    chosen = {(table, column): (number, value) for table, column, number, value in drawn.sample(found, len(found))}
    assert {table for table, _ in chosen} >= {"journal", "runs", "events", "detections", "evidence", *FILE_TABLES}
    whole = path.read_bytes()
    for (table, column), (number, value) in chosen.items():
        with closing(sqlite3.connect(path)) as connection, connection:
            sql = f"UPDATE OR REPLACE {table} SET {column} = ? WHERE rowid = ?"
            connection.execute(sql, (flipped(value, drawn), number))
        with pytest.raises((BrokenRecordError, RunError)):
            verified(ended)
        path.write_bytes(whole)


def test_a_byte_of_the_file_is_named_or_says_nothing(ended: Path) -> None:
    """Wherever in the file: what it says is refused unless it is the same."""
    drawn, path = random.Random(FLIPS), ended / FILE_NAME
    whole, before = path.read_bytes(), said(path)
    named = 0
    for _ in range(FLIPS):
        path.write_bytes(flip_in(whole, drawn.randrange(len(whole)), drawn))
        try:
            verified(ended)
        except (BrokenRecordError, RunError):
            named += 1
        else:
            assert said(path) == before
    assert named > FLIPS // 20  # most of a small file is room


def test_a_byte_of_any_file_that_a_row_names_is_named(ended: Path) -> None:
    """Images of evidence, clips, and images for review."""
    drawn = random.Random(3)
    files = [path for folder in ("evidence", "clips", "review") for path in sorted((ended / folder).rglob("*.*"))]
    assert len(files) == 3 * 2 + 3
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(flip_in(whole, drawn.randrange(len(whole)), drawn))
        with pytest.raises(BrokenRecordError, match="is not what was recorded"):
            verified(ended, images=True)
        path.write_bytes(whole)


def test_an_end_that_was_taken_away_is_named_by_a_head(ended: Path, tmp_path: Path) -> None:
    """With its rows, so that all that is left holds: an older copy of the file is that."""
    older = shutil.copytree(ended, tmp_path / "older")
    with closing(open_writer(ended / FILE_NAME)) as connection:
        add_row(connection, ended, FILE_TABLES["audits"], 2, NOW)
    head = verified(ended).journal.head.digest.hex()

    assert verified(older, images=True)
    assert verified(ended, head)
    with pytest.raises(BrokenRecordError, match="the end was taken away"):
        verified(older, head)
