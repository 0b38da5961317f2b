# SPDX-License-Identifier: AGPL-3.0-or-later
"""A PostgreSQL server for all tests of this process, and a new database for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.fakes.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Yield a server; who kills it starts it again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def empty_database(postgres: PostgresServer) -> str:
    """Return the URL of a database without tables."""
    return postgres.new_database()
