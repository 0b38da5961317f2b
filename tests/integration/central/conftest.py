# SPDX-License-Identifier: AGPL-3.0-or-later
"""A PostgreSQL server for all tests of this process, a new database for each, and boxes that ship to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.postgres import PostgresServer, running_postgres
from tests.fakes.shipping_box import ShippingBox


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Yield a server; who kills it starts it again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def empty_database(postgres: PostgresServer) -> str:
    """Return the URL of a database without tables."""
    return postgres.new_database()


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """Return the URL of a database with tables."""
    return postgres.new_plant()


@pytest.fixture(autouse=True)
def quick_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything noted often, and tried again soon, so that nobody waits for it."""
    monkeypatch.setattr("vision_line.shipping.shipping_service.POLL_S", 0.02)
    monkeypatch.setattr("vision_line.shipping.shipping_service.SEEN_EVERY_S", 0.1)
    monkeypatch.setattr("vision_line.shipping.shipping_service.NOTE_EVERY_S", 0.1)
    monkeypatch.setattr("vision_line.outputs.retry_delay.SHORTEST_S", 0.05)
    monkeypatch.setattr("vision_line.outputs.retry_delay.LONGEST_S", 0.2)
    monkeypatch.setattr("vision_line.outputs.retry_delay.SLOW_S", 0.2)


@pytest.fixture
def box(tmp_path: Path, database: str) -> Iterator[ShippingBox]:
    """Yield a box whose records are shipped when it is asked to."""
    with ShippingBox.made(tmp_path / "box1", database) as made:
        yield made
