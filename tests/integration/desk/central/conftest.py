# SPDX-License-Identifier: AGPL-3.0-or-later
"""A PostgreSQL server for all tests of this process, and databases with the central tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.fakes.postgres import PostgresServer, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Yield a server."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def new_plant(postgres: PostgresServer) -> Callable[[], str]:
    """Return what makes a database with empty tables, and returns its URL."""
    return postgres.new_plant
