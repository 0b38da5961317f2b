# SPDX-License-Identifier: AGPL-3.0-or-later
"""First the database, then the boxes: a newer schema takes the records of boxes that do not know it."""

from __future__ import annotations

import re

import psycopg
from tests.fakes.shipping_box import ShippingBox

from vision_line.central.schema_steps import OLDEST_WRITERS, SCHEMA_VERSION, statements

#: A next version as one may be: columns that must have a value, and something that nobody knows yet.
_NEXT = """
DO $$ DECLARE t regclass; BEGIN
    FOR t IN SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('plant', 'records', 'parts', 'reviews') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    LOOP EXECUTE format('ALTER TABLE %s ADD COLUMN later text NOT NULL DEFAULT ''''', t); END LOOP;
END $$;
CREATE TABLE records.later (later bigint PRIMARY KEY)
"""
_ENTER = (
    "INSERT INTO plant.schema_version (version, oldest_writer, migrated_utc, by_version) VALUES (%s, %s, 0, 'next')"
)


async def test_a_box_of_the_version_before(box: ShippingBox) -> None:
    """All of its kinds of rows come, before and after the database was brought up to date beneath it."""
    run = box.record()
    await box.ship_all()
    with psycopg.connect(box.database, autocommit=True) as there:
        there.execute(_NEXT.encode())
        there.execute(_ENTER, (SCHEMA_VERSION + 1, SCHEMA_VERSION))

    box.record()
    box.pass_parts(run)
    box.review(run)
    await box.ship_all()

    assert box.differences() == []


async def test_a_database_that_is_brought_up_to_date_while_a_box_ships(box: ShippingBox) -> None:
    """The connection that is open goes on."""
    from tests.fakes.shipping_box import until

    box.record()
    async with box.shipping() as service:
        await until(lambda: service.status().state.behind == 0)
        with psycopg.connect(box.database, autocommit=True) as there:
            there.execute(_NEXT.encode())
            there.execute(_ENTER, (SCHEMA_VERSION + 1, SCHEMA_VERSION))
        box.record()
        await until(lambda: service.status().state.behind == 0)
        await until(lambda: box.differences() == [])


def test_a_version_takes_the_writers_of_the_one_before() -> None:
    """And takes nothing from them that they write."""
    for version, oldest in OLDEST_WRITERS.items():
        assert oldest <= max(1, version - 1)
        if version > 1:
            taken = r"\b(DROP\s+(TABLE|COLUMN|SCHEMA)|RENAME|SET\s+NOT\s+NULL|ALTER\s+COLUMN\s+\w+\s+TYPE)\b"
            assert not re.search(taken, statements(version), re.IGNORECASE), version
