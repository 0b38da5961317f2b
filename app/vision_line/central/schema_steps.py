# SPDX-License-Identifier: AGPL-3.0-or-later
"""The database's version: how it is made and brought up to date, and who may use it as it is.

First the database, then the boxes. A new version only adds, so that boxes of the version before go on meanwhile; what
nobody writes any more goes one version later. So a statement of a step is never changed once it was released.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from vision_line import __version__
from vision_line.errors import ConfigError, RunError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow

#: Raise it with a file `migrations/NNNN_*.sql`, and say here from which version's boxes on it takes records.
OLDEST_WRITERS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 2, 6: 2}
SCHEMA_VERSION = max(OLDEST_WRITERS)

_FIRST = """
CREATE SCHEMA plant;
CREATE TABLE plant.schema_version (
    version integer PRIMARY KEY, oldest_writer integer NOT NULL, migrated_utc double precision NOT NULL,
    by_version text NOT NULL)
"""
_IS_THERE = "SELECT to_regclass('plant.schema_version') IS NOT NULL"
_VERSION = "SELECT version, oldest_writer FROM plant.schema_version ORDER BY version DESC LIMIT 1"
_ENTER = "INSERT INTO plant.schema_version VALUES (%s, %s, %s, %s)"
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('vision-line schema'))"


@dataclass(frozen=True, slots=True)
class FoundSchema:
    """The version of a database, 0: it has none of our tables; and the oldest one whose boxes it takes records of."""

    version: int = 0
    oldest_writer: int = 0


def found_schema(connection: Connection[TupleRow]) -> FoundSchema:
    """Return a database's version.

    Raises:
        psycopg.Error: as it comes.
    """
    (is_there,) = connection.execute(_IS_THERE).fetchone() or (False,)
    row = connection.execute(_VERSION).fetchone() if is_there else None
    return FoundSchema() if row is None else FoundSchema(*row)


def check_usable(found: FoundSchema) -> None:
    """Find out whether this vision-line can write and read a database of this version.

    Raises:
        ConfigError: it cannot, and says who has to be brought up to date.
    """
    if not found.version:
        raise ConfigError("the database has no tables of vision-line: vision-line database init makes them")
    if found.version < SCHEMA_VERSION:
        raise ConfigError(
            f"the database has schema {found.version}, this vision-line needs {SCHEMA_VERSION}:"
            " vision-line database migrate brings it up to date"
        )
    if found.oldest_writer > SCHEMA_VERSION:
        raise ConfigError(
            f"the database has schema {found.version} and takes records from schema {found.oldest_writer} on, this"
            f" vision-line writes {SCHEMA_VERSION}: update it"
        )


def bring_up_to_date(connection: Connection[TupleRow], *, is_new: bool) -> list[int]:
    """Make the tables (`is_new`) or bring them up to date, all or nothing; return the versions that were added.

    Raises:
        ConfigError: they are there already, or are not there yet.
        RunError: they are of a newer version.
        psycopg.Error: as it comes.
    """
    with connection.transaction():
        connection.execute(_LOCK)
        found = found_schema(connection)
        if is_new and found.version:
            raise ConfigError(f"the database has schema {found.version} already; migrate brings it up to date")
        if not is_new and not found.version:
            raise ConfigError("the database has no tables of vision-line: vision-line database init makes them")
        if found.version > SCHEMA_VERSION:
            raise RunError(f"the database has schema {found.version}, this vision-line knows {SCHEMA_VERSION}")
        if is_new:
            connection.execute(_FIRST)
        added = [version for version in OLDEST_WRITERS if version > found.version]
        for version in added:
            connection.execute(statements(version).encode())
            connection.execute(_ENTER, (version, OLDEST_WRITERS[version], time.time(), __version__))
    return added


def statements(version: int) -> str:
    """Return what brings a database of the version before to this one."""
    (step,) = (
        file for file in files("vision_line.central.migrations").iterdir() if file.name.startswith(f"{version:04}_")
    )
    return step.read_text(encoding="utf-8")
