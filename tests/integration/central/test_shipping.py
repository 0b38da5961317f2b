# SPDX-License-Identifier: AGPL-3.0-or-later
"""Records of boxes in a real database: all of them, once, as they are in the box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from tests.fakes.shipping_box import ShippingBox, until

from vision_line.central.numbers import offset_of
from vision_line.shipping.box_tables import BOX_TABLES


def asked(database: str, text: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the database."""
    with psycopg.connect(database) as connection:
        return connection.execute(text.encode(), values).fetchall()


def counts(database: str) -> dict[str, int]:
    """Return how many rows each table has."""
    tables = [f"records.{table.table}" for table in BOX_TABLES]
    tables += ["parts.parts", "parts.part_events", "parts.lots", "parts.journal", "reviews.answers", "reviews.journal"]
    with psycopg.connect(database) as connection:
        found = {
            table: connection.execute(
                sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.split(".")))
            ).fetchone()
            for table in tables
        }
    return {table: row[0] for table, row in found.items() if row is not None}


async def test_everything_is_there_as_it_is_in_the_box(box: ShippingBox) -> None:
    """Rows of every kind, changed, taken back and deleted ones; parts and reviews; and nothing comes twice."""
    run = box.record()
    box.pass_parts(run)
    box.review(run)
    await box.ship_all()
    first = counts(box.database)
    assert box.differences() == []

    box.record()
    box.pass_parts(run)
    await box.ship_all()

    assert box.differences() == []
    (events, runs) = (counts(box.database)[f"records.{table}"] for table in ("events", "runs"))
    assert (events, runs) == (6, 2)
    assert first["records.not_inspected"] == 2
    assert first["parts.parts"] == 3
    assert first["parts.part_events"] == 4
    assert first["reviews.answers"] == 2
    assert asked(box.database, "SELECT count(*) FROM plant.withdrawn") == [(2,)]
    assert asked(box.database, "SELECT detail FROM records.states WHERE code = 'TIMEOUT'")[0][0].count("\ufffd") == 1
    entries, shipped = asked(box.database, "SELECT entries, number FROM plant.shipment WHERE journal = 'records'")[0]
    assert entries == shipped


async def test_some_hundred_parts_at_once(box: ShippingBox) -> None:
    """Each with its events, lot and correction, in one batch."""
    box.pass_parts(box.record(), 300)
    await box.ship_all()

    assert box.differences() == []
    corrected = "SELECT count(*) FROM parts.parts WHERE corrected IS NOT NULL"
    assert asked(box.database, corrected) == [(100,)]
    assert counts(box.database)["parts.part_events"] == 400


async def test_two_boxes_beside_each_other(box: ShippingBox, tmp_path: Path) -> None:
    """Their numbers are told apart, and each is itself again by its offset."""
    with ShippingBox.made(tmp_path / "box2", box.database, "box2") as other:
        for one in (box, other):
            run = one.record()
            one.pass_parts(run)
            await one.ship_all()

        assert box.differences() == other.differences() == []
        found = asked(box.database, "SELECT r.run, n.number FROM records.runs r JOIN plant.nodes n USING (node)")
        assert all(run % 2**40 == 1 and run == 1 + offset_of(number) for run, number in found)
        joined = "SELECT count(*) FROM parts.parts t JOIN parts.journal c ON c.number = t.corrected AND c.node = t.node"
        assert asked(box.database, joined) == [(2,)]


async def test_a_copied_name_is_refused(box: ShippingBox, tmp_path: Path) -> None:
    """Two boxes with one `node` are the commonest mistake; the second one ships nothing, and says why."""
    box.record()
    await box.ship_all()
    before = counts(box.database)
    with ShippingBox.made(tmp_path / "box2", box.database) as other:
        other.record()
        other.record()
        async with other.shipping() as service:
            await until(lambda: "another box has this name" in (service.status().state.error or ""))

    assert counts(box.database) == before
    assert box.differences() == []


async def test_copied_records_are_refused(box: ShippingBox, tmp_path: Path) -> None:
    """Whatever they are called: a run is counted once."""
    box.record()
    await box.ship_all()
    before = counts(box.database)

    box.node = "box2"
    async with box.shipping() as service:
        await until(lambda: "a copy of that node's" in (service.status().state.error or ""))

    assert counts(box.database) == before


async def test_two_shippers_at_once(box: ShippingBox) -> None:
    """Each entry takes effect once; one of them finds the other."""
    async with box.shipping() as one, box.shipping() as other:
        for _ in range(20):
            box.record()
        await until(lambda: one.status().state.behind == 0 or other.status().state.behind == 0)
        await until(lambda: box.differences() == [])

    entries, shipped = asked(box.database, "SELECT entries, number FROM plant.shipment WHERE journal = 'records'")[0]
    assert entries == shipped
    assert counts(box.database)["records.events"] == 60


async def test_a_place_that_another_one_moved(box: ShippingBox, caplog: pytest.LogCaptureFixture) -> None:
    """The transaction is given up as a whole, and it is said."""
    box.record()
    async with box.shipping() as service:
        await until(lambda: service.status().state.behind == 0)
        with psycopg.connect(box.database, autocommit=True) as connection:
            connection.execute("UPDATE plant.shipment SET number = number - 1 WHERE journal = 'records'")
        box.record()
        await until(lambda: "another shipper ships" in caplog.text)
