# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a record file has the tables and indices that vision-line makes, and nothing that acts on them.

A trigger, a view or a column that is computed would change what is written or read though every entry fits.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing

#: Type, name, and of which table.
Named = tuple[str, str, str]

_SCHEMA = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema"
#: What `ANALYZE` makes: it changes how fast a query is and not what it finds.
_STATISTICS = re.compile(r"sqlite_stat\d")
_PARTS = re.compile(r"\s*([^(]*?)\s*\((.*)\)\s*([^()]*?)\s*", re.DOTALL)


def schema_problems(connection: sqlite3.Connection, statements: Iterable[str]) -> Iterator[str]:
    """Return what is otherwise than the `statements` make it. A migrated file has its columns in another order.

    Raises:
        sqlite3.Error: as it comes.
    """
    with closing(sqlite3.connect(":memory:")) as made:
        for sql in statements:
            made.execute(sql)
        expected = _objects(made)
    found = _objects(connection)
    for kind, name, table in sorted(expected.keys() - found.keys()):
        yield f"{kind} {name} of table {table} is missing" if kind != "table" else f"table {name} is missing"
    for kind, name, _ in sorted(found.keys() - expected.keys()):
        yield f"there is a {kind} {name}, which vision-line does not make"
    for named in sorted(expected.keys() & found.keys()):
        if found[named] != expected[named]:
            yield f"{named[0]} {named[1]} is not as vision-line makes it"


def _objects(connection: sqlite3.Connection) -> dict[Named, tuple[str, ...]]:
    rows = connection.execute(_SCHEMA).fetchall()
    return {(row[0], row[1], row[2]): _parts(row[3]) for row in rows if not _STATISTICS.fullmatch(row[1])}


def _parts(sql: str) -> tuple[str, ...]:
    """Return the parts of a statement that makes something, those in its brackets sorted, spaces as one."""
    found = _PARTS.fullmatch(sql)
    if found is None or sql.startswith("CREATE INDEX"):  # the order of an index's columns is what it is
        return (" ".join(sql.split()),)
    head, inner, tail = (" ".join(part.split()) for part in found.groups())
    return (head, *sorted(_split(inner)), tail)


def _split(inner: str) -> Iterator[str]:
    """Return what commas outside of brackets part."""
    depth, start = 0, 0
    for place, sign in enumerate(inner):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and not depth:
            yield inner[start:place].strip()
            start = place + 1
    yield inner[start:].strip()
