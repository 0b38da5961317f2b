# SPDX-License-Identifier: AGPL-3.0-or-later
"""The port `Records`: what reads records asks of whatever holds them, a record file or the database of many boxes.

Statements are one text for all: they keep to what SQLite and PostgreSQL both know. What one of them lacks is a function
of the same name there (`json_each`, `is_challenge`); `docs/decisions/0053-central-desk.md` lists what to keep to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

#: What a column of a row holds: a number, text, bytes or None, as its table says. Who reads it says which.
ColumnValue: TypeAlias = Any


class Row(Protocol):
    """A row, by the place or the name of a column."""

    def __getitem__(self, column: int | str, /) -> ColumnValue:
        """Return a value."""
        ...

    def keys(self) -> Iterable[str]:
        """Return the columns' names."""
        ...


class Rows(Protocol):
    """What a statement found. Values of one kind come as one type: numbers, text, bytes, None."""

    def fetchone(self) -> ColumnValue:
        """Return the next row, None behind the last."""
        ...

    def fetchall(self) -> list[ColumnValue]:
        """Return all rows that are left."""
        ...

    def __iter__(self) -> Iterator[ColumnValue]: ...


class Records(Protocol):
    """Answers statements that read; a connection of `sqlite3` does, and so does the one to a central database."""

    def execute(self, sql: str, parameters: Sequence[ColumnValue] = (), /) -> Rows:
        """Return the rows of a statement; its `?` are the parameters, in their order.

        Raises:
            Error: the database's, as it comes; who opened the records turns it into a sentence.
        """
        ...


def either(condition: str, then: str, otherwise: str) -> str:
    """Return SQL of a value by a condition."""
    return f"CASE WHEN {condition} THEN {then} ELSE {otherwise} END"


def least(first: str, second: str) -> str:
    """Return SQL of the lesser of two values that are not NULL."""
    return either(f"{first} < {second}", first, second)


def greatest(first: str, second: str) -> str:
    """Return SQL of the greater of two values that are not NULL."""
    return either(f"{first} > {second}", first, second)
