# SPDX-License-Identifier: AGPL-3.0-or-later
"""Connections to the database, and its errors as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vision_line.central.database_url import DatabaseUrl
from vision_line.errors import ConfigError, RunError
from vision_line.packages import install_extra

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.rows import TupleRow


def check_installed() -> None:
    """Find out whether the library is there.

    Raises:
        ConfigError: it is not.
    """
    if find_spec("psycopg") is None:
        raise ConfigError(f"a central record needs psycopg: {install_extra('central')}")


@contextmanager
def connected(url: DatabaseUrl) -> Iterator[Connection[TupleRow]]:
    """Yield a connection that commits at each statement's end unless a transaction is begun.

    Raises:
        ConfigError: the library is not installed.
        RunError: the database cannot be reached, or refused what was asked of it in the block.
    """
    check_installed()
    import psycopg
    from psycopg.conninfo import make_conninfo

    try:
        with psycopg.connect(make_conninfo(**url.parameters), autocommit=True) as connection:
            yield connection
    except psycopg.Error as exc:
        raise RunError(f"database {url}: {url.without_secret(str(exc))}") from exc
