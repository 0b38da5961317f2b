# SPDX-License-Identifier: AGPL-3.0-or-later
"""Answers from the database of all boxes, as a box's own files give them: the port `Records` over PostgreSQL.

The schemas `desk`, `desk_parts` and `desk_reviews` have what a box's files have, so that a statement is the same text;
those with `_of_box` behind it have one box alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from vision_line.central.central_statements import translated
from vision_line.central.database_connection import connected
from vision_line.errors import RunError
from vision_line.records.records import ColumnValue, Rows

if TYPE_CHECKING:
    from psycopg import Connection, Cursor
    from psycopg.rows import TupleRow

    from vision_line.central.database_url import DatabaseUrl

_SHOW = "SELECT set_config('search_path', %s, false), set_config('vision_line.box', %s, false)"
#: What the desk asks is short: code that is compiled for a statement costs more than it saves.
_BEGIN = """SELECT set_config('jit', 'off', false), set_config('default_transaction_read_only', 'on', false),
    set_config('statement_timeout', %s, false)"""


class FileOfBox(StrEnum):
    """Which of a box's files is asked for; the schema in which its tables are, of all boxes."""

    RECORDS = "desk"
    PARTS = "desk_parts"
    REVIEWS = "desk_reviews"

    def schemas(self, box: str) -> str:
        """Return where its tables are looked for: of one box, "" all; behind it what is no table of a box."""
        return f"{self}_of_box, {self}, desk, pg_catalog" if box else f"{self}, desk, pg_catalog"


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

    def __init__(self, connection: Connection[TupleRow], file: FileOfBox, due_s: float = float("inf")) -> None:
        self._connection = connection
        self._file = file
        self._due_s = due_s

    def show(self, box: str) -> None:
        """Have each later statement be about this box, "" all.

        Raises:
            psycopg.Error: as it comes.
        """
        self._connection.execute(_SHOW, (self._file.schemas(box), box))

    def execute(self, sql: str, parameters: Sequence[ColumnValue] = (), /) -> Rows:
        """Return the rows of a statement.

        Raises:
            TimeoutError: the time is up.
            psycopg.Error: as it comes.
        """
        if time.monotonic() > self._due_s:
            raise TimeoutError
        named = {f"p{n}": value for n, value in enumerate(parameters)}
        return self._connection.cursor(row_factory=_row_factory).execute(translated(sql).encode(), named)


@contextmanager
def central_records(
    url: DatabaseUrl, file: FileOfBox, box: str = "", limit_s: float | None = None
) -> Iterator[CentralRecords]:
    """Yield what a file has of all boxes, or of one; each statement sees what is there when it begins.

    Without a limit all statements see one moment.

    Raises:
        ConfigError: the library is not installed.
        RunError: the database cannot be reached, refuses, or a statement took too long.
    """
    with connected(url) as connection:
        from psycopg.errors import QueryCanceled

        _read_numbers(connection)
        connection.execute(_BEGIN, (str(0 if limit_s is None else int(1000 * limit_s)),))
        records = CentralRecords(connection, file, float("inf") if limit_s is None else time.monotonic() + limit_s)
        records.show(box)
        if limit_s is None:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            yield records
            return
        try:
            yield records
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
