# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kills the shipper or the database at random moments while a box records, and counts what the database then has.

`python -m benchmarks.central_kills` needs PostgreSQL and, as root, the user `postgres`. Nothing may be lost or doubled.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from tests.fakes.postgres import PostgresServer, running_postgres
from tests.fakes.shipping_box import ShippingBox

from vision_line.central.database_connection import connected
from vision_line.central.database_url import parsed
from vision_line.central.schema_steps import bring_up_to_date
from vision_line.shipping.box_tables import BOX_TABLES
from vision_line.telemetry.shipping_status import read_shipping_status

#: How long the shipper may take to catch up at the end, and to ship something after a kill, in seconds.
WAIT_S = 120.0


@dataclass
class KillsResult:
    """What the database has after `kills`, of `entries` that were recorded: `doubled` and `lost` rows, other words."""

    kills: int
    server_kills: int
    entries: int
    shipped: int
    lost: int
    doubled: int
    differences: list[str]

    @property
    def is_exact(self) -> bool:
        """Whether everything is there, once."""
        return self.entries == self.shipped and not (self.lost or self.doubled or self.differences)


class ShippingProcess:
    """`vision-line ship` of a box; it may be killed and started again."""

    def __init__(self, box: ShippingBox) -> None:
        self._box = box
        self._streams = box.directory.parent / "central.toml"
        text = f'config_version = 1\n[central]\ndatabase = "{box.database}"\nnode = "{box.node}"\n'
        self._streams.write_text(text, encoding="utf-8")
        self._log = (box.directory.parent / "ship.log").open("ab")
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        words = ["ship", "--streams", str(self._streams), "--record", str(self._box.directory)]
        return subprocess.Popen([sys.executable, "-m", "vision_line", *words], stdout=self._log, stderr=self._log)

    def kill(self) -> None:
        """Kill it, and start it again."""
        self._process.kill()
        self._process.wait()
        self._process = self._started()

    def close(self) -> None:
        """End it in order."""
        self._process.terminate()
        self._process.wait(60)
        self._log.close()

    def waits_for(self, holds: Callable[[int, int], bool]) -> None:
        """Wait until what it has shipped and what waits, in entries of all journals, are as asked."""
        deadline_s = time.monotonic() + WAIT_S
        while True:
            status = read_shipping_status(self._box.directory)
            is_fresh = status is not None and time.time() - status.state.updated_utc < 3.0
            if is_fresh and status is not None and holds(sum(status.places.values()), status.state.behind):
                return
            if time.monotonic() > deadline_s:
                raise AssertionError(f"shipping does not go on: {status}")
            time.sleep(0.02)


def kill_often(kills: int, server: PostgresServer, folder: Path, seed: int = 1) -> KillsResult:
    """Kill the shipper or the server so often while a box records; return what came of it."""
    draw = random.Random(seed)
    url = server.new_database()
    with connected(parsed(url)) as connection:
        bring_up_to_date(connection, is_new=True)
    with ShippingBox.made(folder / "box", url) as box:
        shipper = ShippingProcess(box)
        server_kills = 0
        try:
            for number in range(kills):
                for _ in range(draw.randint(1, 30)):
                    run = box.record()
                if number % 3 == 0:
                    box.pass_parts(run)
                time.sleep(draw.uniform(0.0, 2.5))
                if number % 2:
                    server.kill()
                    server_kills += 1
                    time.sleep(draw.uniform(0.0, 0.5))
                    server.start()
                else:
                    shipper.kill()
            shipper.waits_for(lambda shipped, behind: shipped > 0 and behind == 0)
            time.sleep(5.0)  # what has no entry yet comes every two seconds
        finally:
            shipper.close()
        return kills_result(box, url, kills, server_kills)


def kills_result(box: ShippingBox, url: str, kills: int, server_kills: int) -> KillsResult:
    """Return what the database has of a box that has ended."""
    lost = doubled = 0
    with psycopg.connect(url) as connection:
        for table in BOX_TABLES:
            counted = f"SELECT count(*) FROM {table.table}"  # noqa: S608  ours
            (own,) = box.rows.connection.execute(counted).fetchone()
            (there,) = connection.execute(counted.replace("FROM ", "FROM records.").encode()).fetchone() or (0,)
            lost, doubled = lost + max(0, own - there), doubled + max(0, there - own)
        (shipped,) = connection.execute(
            "SELECT entries FROM plant.shipment WHERE journal = 'records' AND entries = number"
        ).fetchone() or (0,)
    (entries,) = box.rows.connection.execute("SELECT max(number) FROM journal").fetchone()
    return KillsResult(kills, server_kills, entries, shipped, lost, doubled, box.differences())


def main() -> int:
    """Kill as often as asked, print what came of it, and return 1 where something is missing or twice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    with running_postgres(syncs=True) as server, tempfile.TemporaryDirectory() as folder:
        result = kill_often(options.kills, server, Path(folder), options.seed)
    print(f"seed {options.seed}: {result}")
    return 0 if result.is_exact else 1


if __name__ == "__main__":
    sys.exit(main())
