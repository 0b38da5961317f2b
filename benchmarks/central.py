# SPDX-License-Identifier: AGPL-3.0-or-later
"""The central record: what waits while the database is away, how fast it comes afterwards, how late it is otherwise.

A box records ENTRIES while the database is stopped (720,000 are an hour at 200 a second; here they are written as fast
as the disk takes them), then the database starts: how many entries a second arrive, and whether all do, once. Then it
records 200 entries a second in commits of 200 ms, as a line does: how long until the database has them.
Aims: at least 5000 entries/s, at most 2 s. The database syncs to its disk; it is on the same machine.

Run: python -m benchmarks.central [ENTRIES] [SECONDS]; 60,000 entries and 10 s take a minute.
720,000 entries are the whole hour, and want 2 GB of disk.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from threading import Event, Thread

import psycopg
from tests.fakes.desk_records import BEGAN_UTC
from tests.fakes.postgres import PostgresServer, running_postgres
from tests.fakes.shipping_box import ShippingBox

from benchmarks.central_kills import ShippingProcess, kills_result
from benchmarks.rounds import percentile
from vision_line.central.database_connection import connected
from vision_line.central.database_url import parsed
from vision_line.central.schema_steps import bring_up_to_date
from vision_line.records.schema import transaction

RATE_AIM, DELAY_AIM_S = 5000.0, 2.0
#: Entries a second while the database is away.
HOURS_RATE = 200.0
#: As a line commits: what 200 ms bring.
COMMIT_S, COMMIT_ENTRIES = 0.2, 40
_PLACE = "SELECT number FROM plant.shipment WHERE journal = 'records'"
_EVENT = """INSERT INTO events (run, camera, event_id, first_seen_utc, first_seen_s, last_seen_utc, last_seen_s,
    station, recipe, class, verdict, phase, ended, score, top_score, hits, x1, y1, x2, y2, width, height, sequence,
    confirmed_sequence) VALUES (?, ?, ?, ?, ?, ?, ?,
    'line 1', '', 'open', 'reject', 'end', 1, 0.75, 0.9, 9, 1.5, 2.5, 30.25, 40.125, 640, 360, 7, 7)"""
_MINUTE = """INSERT INTO coverage (run, camera, minute_utc, station, recipe, arrived, decoded, inspected,
    not_inspected_s, reconnects) VALUES (?, ?, ?, 'line 1', '', 1500, 1500, 360, 0.0, 0)"""


class Recorder:
    """Records events and minutes, half and half, of 16 cameras."""

    def __init__(self, box: ShippingBox) -> None:
        self._box = box
        self._run = box.rows.run(0, None, *(f"cam{number:02}" for number in range(16)))
        self._number = 0

    def commit(self, entries: int) -> int:
        """Record so many entries in one transaction; return the number of the last one."""
        connection = self._box.rows.connection
        with transaction(connection):
            for _ in range(entries):
                self._number += 1
                camera, at_s = f"cam{self._number % 16:02}", self._number / HOURS_RATE
                if self._number % 2:
                    seen = (BEGAN_UTC + at_s, at_s, BEGAN_UTC + at_s + 2, at_s + 2)
                    connection.execute(_EVENT, (self._run, camera, f"event {self._number}", *seen))
                else:
                    connection.execute(_MINUTE, (self._run, camera, int(BEGAN_UTC) + 60 * (self._number // 16)))
        return connection.journal.newest


def catch_up(recorder: Recorder, url: str, server: PostgresServer, entries: int) -> tuple[float, float]:
    """Record while the database is away; return entries a second afterwards, and after how long the first came."""
    server.stop(signal.SIGINT)
    for _ in range(entries // 200):
        newest = recorder.commit(200)
    server.start()
    began_s = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        before = place_of(connection)
        while (first := place_of(connection)) == before:
            time.sleep(0.005)
        first_s = time.monotonic()
        while place_of(connection) < newest:
            time.sleep(0.005)
    return (newest - first) / (time.monotonic() - first_s), first_s - began_s


def place_of(connection: psycopg.Connection[tuple[int]]) -> int:
    """Return up to which entry the records are in the database."""
    (number,) = connection.execute(_PLACE).fetchone() or (0,)
    return number


def delays(recorder: Recorder, url: str, seconds: float) -> list[float]:
    """Record as a line does; return for each commit how long it took until the database had it, in seconds."""
    committed: list[tuple[int, float]] = []
    there: list[tuple[int, float]] = []
    ending = Event()

    def watch() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not ending.is_set():
                there.append((place_of(connection), time.monotonic()))
                time.sleep(0.01)

    watching = Thread(target=watch)
    watching.start()
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        began_s = time.monotonic()
        committed.append((recorder.commit(COMMIT_ENTRIES), time.monotonic()))
        time.sleep(max(0.0, COMMIT_S - (time.monotonic() - began_s)))
    time.sleep(5.0)
    ending.set()
    watching.join()
    arrived = iter(there)
    number, at_s = next(arrived)
    found: list[float] = []
    for wanted, committed_s in committed:
        while number < wanted:
            number, at_s = next(arrived)
        found.append(max(0.0, at_s - committed_s))
    return found


def main() -> int:
    """Measure, print, and return 1 where an aim is missed."""
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    with running_postgres(syncs=True) as server, tempfile.TemporaryDirectory() as folder:
        url = server.new_database()
        with connected(parsed(url)) as connection:
            bring_up_to_date(connection, is_new=True)
        with ShippingBox.made(Path(folder) / "box", url) as box:
            recorder = Recorder(box)
            shipper = ShippingProcess(box)
            try:
                shipper.waits_for(lambda there, behind: there > 0 and behind == 0)
                rate, first_s = catch_up(recorder, url, server, entries)
                found = delays(recorder, url, seconds)
                shipper.waits_for(lambda _, behind: behind == 0)
            finally:
                shipper.close()
            result = kills_result(box, url, 0, 0)
    p50_s, p99_s = percentile(found, 0.5), percentile(found, 0.99)
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"load {load} (1, 5, 15 min), {os.cpu_count()} cores")
    print(f"database away: {result.shipped} of {result.entries} entries there, {result.doubled} rows twice")
    print(f"first entries {first_s:.1f} s after its start, then {rate:.0f} entries/s (aim {RATE_AIM:.0f})")
    late = f"p50 {p50_s:.2f} s, p99 {p99_s:.2f} s (aim {DELAY_AIM_S:g} s)"
    print(f"delay of {len(found)} commits of {COMMIT_ENTRIES} entries: {late}")
    return 0 if result.is_exact and rate >= RATE_AIM and p99_s <= DELAY_AIM_S else 1


if __name__ == "__main__":
    sys.exit(main())
