# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shipper and the database killed while a box records: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import signal
from pathlib import Path

from benchmarks.central_kills import kill_often
from tests.fakes.postgres import PostgresServer
from tests.fakes.shipping_box import ShippingBox, until


def test_kills(postgres: PostgresServer, tmp_path: Path) -> None:
    """`make central-kills` does it 30 times."""
    result = kill_often(2, postgres, tmp_path)

    assert result.is_exact, result


async def test_a_server_that_is_away_and_comes_again(postgres: PostgresServer, box: ShippingBox) -> None:
    """It is said, and what waits is counted; then everything comes."""
    box.record()
    async with box.shipping() as service:
        await until(lambda: service.status().state.behind == 0)
        postgres.stop(signal.SIGINT)
        try:
            run = box.record()
            box.pass_parts(run)
            await until(lambda: service.status().state.state == "retrying")
            assert service.status().state.behind > 0
            assert service.status().state.error
        finally:
            postgres.start()
        await until(lambda: service.status().state.behind == 0 and service.status().state.error is None)
        await until(lambda: box.differences() == [])
