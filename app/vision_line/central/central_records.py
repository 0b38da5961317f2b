# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers from the database of all boxes, as a box's own files give them: the port `Records` over PostgreSQL.

The schemas `desk`, `desk_parts` and `desk_reviews` have what a box's files have, so that a statement is the same text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from vision_line.central.database_connection import connected
from vision_line.errors import RunError
from vision_line.records.records import ColumnValue, Records, Rows

if TYPE_CHECKING:
    from psycopg import Connection, Cursor
    from psycopg.rows import TupleRow

    from vision_line.central.database_url import DatabaseUrl

#: What is read of a statement: text in quotes, a parameter, a percent sign, a hint for SQLite's planner.
_WORDS = re.compile(r"'(?:[^']|'')*'|\?|%| INDEXED BY \w+")
_BEGIN = "SELECT set_config('search_path', %s, false), set_config('vision_line.box', %s, false)"


class FileOfBox(StrEnum):
    """Which of a box's files is asked for; the schemas in which its tables are."""

    RECORDS = "desk, pg_catalog"
    PARTS = "desk_parts, desk, pg_catalog"
    REVIEWS = "desk_reviews, desk, pg_catalog"


class CentralRow(tuple[ColumnValue, ...]):
    """A row that is asked by place or by name, as one of SQLite is."""

    places: ClassVar[Mapping[str, int]] = {}

    def __getitem__(self, column: ColumnValue) -> ColumnValue:
        """Return a value."""
        return super().__getitem__(self.places[column] if isinstance(column, str) else column)

    def keys(self) -> list[str]:
        """Return the columns' names."""
        return list(self.places)


class CentralRecords:
    """The database as records; `due_s` is until when, by the monotonic clock, statements may begin."""

    def __init__(self, connection: Connection[TupleRow], due_s: float = float("inf")) -> None:
        self._connection = connection
        self._due_s = due_s

    def execute(self, sql: str, parameters: Sequence[ColumnValue] = (), /) -> Rows:
        """Return the rows of a statement.

        Raises:
            TimeoutError: the time is up.
            psycopg.Error: as it comes.
        """
        if time.monotonic() > self._due_s:
            raise TimeoutError
        return self._connection.cursor(row_factory=_row_factory).execute(translated(sql).encode(), tuple(parameters))


@lru_cache(maxsize=512)
def translated(sql: str) -> str:
    """Return a statement as psycopg takes it. Pure."""

    def word(found: re.Match[str]) -> str:
        if found[0] == "?":
            return "%s"
        return "" if found[0].startswith(" ") else found[0].replace("%", "%%")

    return _WORDS.sub(word, sql)


@contextmanager
def central_records(
    url: DatabaseUrl, file: FileOfBox, box: str = "", limit_s: float | None = None
) -> Iterator[Records]:
    """Yield what a file has of all boxes, or of one; each statement sees what is there when it begins.

    Without a limit all statements see one moment.

    Raises:
        ConfigError: the library is not installed.
        RunError: the database cannot be reached, refuses, or a statement took too long.
    """
    with connected(url) as connection:
        from psycopg.errors import QueryCanceled

        _read_numbers(connection)
        connection.execute(_BEGIN, (file.value, box))
        connection.execute("SET default_transaction_read_only = on")
        if limit_s is None:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            yield CentralRecords(connection)
            return
        connection.execute(f"SET statement_timeout = {int(1000 * limit_s)}".encode())
        try:
            yield CentralRecords(connection, time.monotonic() + limit_s)
        except (QueryCanceled, TimeoutError) as exc:
            raise RunError(f"that takes more than {limit_s:g} s: choose less time or other filters") from exc


def _row_factory(cursor: Cursor[ColumnValue]) -> ColumnValue:
    """Return what makes a row of a statement's columns."""
    columns = cursor.description or ()
    return type("OwnRow", (CentralRow,), {"places": {column.name: place for place, column in enumerate(columns)}})


def _read_numbers(connection: Connection[TupleRow]) -> None:
    """Have sums of whole numbers come as Python's, as SQLite gives them: PostgreSQL makes them of another type."""
    from psycopg.adapt import Loader

    class NumberLoader(Loader):
        """Reads what has no decimals as an integer."""

        def load(self, data: ColumnValue) -> int | float:
            """Return the number."""
            text = bytes(data).decode()
            return float(text) if "." in text or "N" in text else int(text)

    connection.adapters.register_loader("numeric", NumberLoader)
