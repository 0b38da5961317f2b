# SPDX-License-Identifier: AGPL-3.0-or-later
"""Old months go, and do not come again."""

from __future__ import annotations

import psycopg
from tests.fakes.desk_records import BEGAN_UTC
from tests.fakes.shipping_box import ShippingBox
from typer.testing import CliRunner

from vision_line.central.database_connection import connected
from vision_line.central.database_url import parsed
from vision_line.central.pruning import month_before, prune
from vision_line.cli.main import cli

DAY_S = 86_400.0


def test_what_is_kept_at_the_least() -> None:
    """Months are whole: 30 days before 28 November 2026 are in October."""
    october, november = 1_790_812_800.0, 1_793_491_200.0

    assert month_before(30, BEGAN_UTC) == october
    assert month_before(1, BEGAN_UTC) == november


async def test_a_month_goes_with_all_that_is_of_it(box: ShippingBox) -> None:
    """Its partitions are dropped, its open interval and its runs stay, and a box that sends it again is not heard."""
    box.pass_parts(box.record())
    await box.ship_all()
    later_utc = month_before(1, BEGAN_UTC + 40 * DAY_S)
    with connected(parsed(box.database)) as connection:
        would = prune(connection, later_utc, dry_run=True)
        assert prune(connection, month_before(1, BEGAN_UTC), dry_run=False) == []
        assert prune(connection, later_utc, dry_run=False) == would

    with psycopg.connect(box.database, autocommit=True) as there:
        left = {
            table: (there.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() or (0,))[0]
            for table in ("records.events", "records.coverage", "records.evidence", "parts.parts", "records.runs")
        }
        assert left == {
            "records.events": 0,
            "records.coverage": 0,
            "records.evidence": 0,
            "parts.parts": 0,
            "records.runs": 1,
        }
        assert there.execute("SELECT ended_utc FROM records.not_inspected").fetchall() == [(None,)]
        assert there.execute("SELECT to_regclass('records.events_2026_11')").fetchone() == (None,)
        there.execute("UPDATE plant.shipment SET number = 0, digest = decode(repeat('00', 32), 'hex')")

    await box.ship_all()

    with psycopg.connect(box.database) as there:
        assert there.execute("SELECT count(*) FROM records.events").fetchone() == (0,)


def test_the_command(database: str) -> None:
    """It says what it did, of a database where nothing is old too."""
    words = ["database", "prune", "--keep-days", "30", "--database", database]

    shown = CliRunner().invoke(cli, [*words, "--dry-run"])

    assert shown.exit_code == 0
    assert "nothing from before" in shown.output
