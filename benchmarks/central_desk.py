# SPDX-License-Identifier: AGPL-3.0-or-later
"""One desk for many boxes: what each page costs the database, and whether it says what was recorded.

A database is filled as BOXES boxes of CAMERAS cameras leave it after DAYS days, with a run a day: minutes of the newest
HOURS, gaps, states, events, parts, settings, and a challenge. What pages and programs are told is compared with
what was filled in. The database's time is that of its processes on the processor, so that a busy machine counts little.
Aims: at most 1 s of it for a page, 0.5 s for a page of one camera.

Run: python -m benchmarks.central_desk; a minute for 25 boxes of 40 cameras, and then as long as it takes to fill them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from starlette.testclient import TestClient
from tests.fakes.central_desk import central_desk
from tests.fakes.postgres import PostgresServer, running_postgres

from benchmarks.filled_plant import PlantSize, fill

PAGE_AIM_S, CAMERA_AIM_S = 1.0, 0.5
#: So long a process of the database may take to end behind an answer, in seconds.
_ENDS_S = 0.4
#: Of all boxes at one moment, so that sums over their cameras are exact.
_ALIVE = "UPDATE records.runs SET alive_utc = extract(epoch FROM now()) WHERE ended_utc IS NULL"
_SEEN = "UPDATE plant.nodes SET seen_utc = extract(epoch FROM now())"

Json = Any


@dataclass(frozen=True, slots=True)
class Answer:
    """What an address cost, in seconds: on the wall, of the desk's process, of the database's processes."""

    address: str
    wall_s: float
    desk_s: float
    database_s: float
    kbytes: float
    aim_s: float


@dataclass(frozen=True, slots=True)
class MeasuredDesk:
    """The desk over a filled database, whose boxes are kept alive."""

    client: TestClient
    server: PostgresServer
    url: str

    def ask(self, address: str, aim_s: float = PAGE_AIM_S) -> tuple[Answer, Json]:
        """Return what an answer cost, and what it is.

        Raises:
            RuntimeError: it was refused.
        """
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(_ALIVE)
            connection.execute(_SEEN)
        time.sleep(_ENDS_S)
        began_s, desk_s, database_s = time.perf_counter(), time.process_time(), self._database_s()
        answer = self.client.get(address)
        wall_s, desk_s = time.perf_counter() - began_s, time.process_time() - desk_s
        time.sleep(_ENDS_S)
        if answer.status_code != 200:
            raise RuntimeError(f"{address}: {answer.status_code} {answer.text[-600:]}")
        cost = Answer(address, wall_s, desk_s, self._database_s() - database_s, len(answer.content) / 1000, aim_s)
        return cost, answer.json() if address.startswith("/api/") else None

    def _database_s(self) -> float:
        """Return the processor time of the server's processes that have ended, and of itself."""
        assert self.server.process is not None
        stat = Path(f"/proc/{self.server.process.pid}/stat").read_text(encoding="ascii")
        ticks = map(int, stat.rpartition(")")[2].split()[11:15])
        return sum(ticks) / os.sysconf("SC_CLK_TCK")


def costs(desk: MeasuredDesk, size: PlantSize) -> Iterator[tuple[Answer, list[str]]]:
    """Yield each answer with what it says otherwise than was recorded."""
    shift = f"since={size.iso(size.until_utc - 8 * 3600)}&until={size.iso(size.until_utc)}"
    box, camera = size.box(size.boxes), size.camera(size.boxes, size.cameras)
    for address in (
        *(f"/?{shift}", f"/?{shift}&box={box}", "/events", f"/events?box={box}", "/events?verdict=reject&class=open"),
        *(f"/events?camera={camera}", "/events?challenges=only", "/cameras", "/charts?period=hour"),
        *(f"/charts?period=hour&box={box}", "/parts", f"/parts?lane={box}:lane-1", "/lots", f"/trail?box={box}"),
    ):
        yield desk.ask(address)[0], []
    for address in (f"/cameras/{camera}?{shift}", f"/charts?camera={camera}&period=hour"):
        yield desk.ask(address, CAMERA_AIM_S)[0], []
    checks: tuple[tuple[str, Callable[[Json], list[str]], float], ...] = (
        (f"/api/v1/coverage?{shift}", lambda said: _coverage(said, size, size.boxes), PAGE_AIM_S),
        (f"/api/v1/coverage?{shift}&box={box}", lambda said: _coverage(said, size, 1), PAGE_AIM_S),
        (f"/api/v1/cameras/{camera}?{shift}", lambda said: _camera(said, size), CAMERA_AIM_S),
        ("/api/v1/cameras", lambda said: _cameras(said, size), PAGE_AIM_S),
        ("/api/v1/boxes", lambda said: _boxes(said, size), PAGE_AIM_S),
        (f"/api/v1/charts?together=1&period=day&days={size.days}", lambda said: _chart(said, size), PAGE_AIM_S),
        (
            f"/api/v1/charts?period=day&days={size.days}&box={box}",
            lambda said: _chart(said, size, size.boxes),
            PAGE_AIM_S,
        ),
        (
            f"/api/v1/charts?camera={camera}&period=day&days={size.days}",
            lambda said: _chart(said, size, size.boxes, size.cameras),
            CAMERA_AIM_S,
        ),
    )
    for address, check, aim_s in checks:
        cost, said = desk.ask(address, aim_s)
        yield cost, check(said)
    cost, said = desk.ask(f"/api/v1/events?camera={camera}")
    yield cost, []
    found = [event["event_id"] for event in said["events"]]
    while said["next"] is not None:
        after = f"after_utc={said['next']['first_seen_utc']!r}&after={said['next']['event']}"
        said = desk.client.get(f"/api/v1/events?camera={camera}&{after}").json()
        found += [event["event_id"] for event in said["events"]]
    number = desk.client.get(f"/api/v1/events?camera={camera}").json()["events"][0]["event"]
    cost, _ = desk.ask(f"/events/{number}", CAMERA_AIM_S)
    yield cost, _differs("events of the camera", len(set(found)), size.events_of(size.boxes, size.cameras))


def _differs(what: str, found: float, recorded: float) -> list[str]:
    return (
        [] if abs(found - recorded) < 0.01 + 1e-9 * recorded else [f"{what}: {found:.3f}, recorded were {recorded:.3f}"]
    )


def _coverage(said: Json, size: PlantSize, boxes: int) -> list[str]:
    cameras, total = boxes * size.cameras, said["total"]
    missing_s = size.missing_s(size.until_utc - 8 * 3600, size.until_utc)
    frames = sum(part["frames"] for one in said["cameras"] for part in one["bar"])
    return [
        *_differs("cameras", len(said["cameras"]), cameras),
        *_differs("due", total["due_s"], cameras * 8 * 3600),
        *_differs("missing", sum(total["not_inspected_s"].values()), cameras * missing_s),
        *_differs("frames", frames, cameras * 8 * 60 * size.frames_a_minute if said["has_bars"] else 0),
    ]


def _camera(said: Json, size: PlantSize) -> list[str]:
    missing_s = size.missing_s(size.until_utc - 8 * 3600, size.until_utc)
    return [
        *_differs("frames", said["frames"]["inspected"], 8 * 60 * size.frames_a_minute),
        *_differs("missing", sum(said["inspected"]["covered"]["not_inspected_s"].values()), missing_s),
        *_differs("states", len(said["states"]), size.states_in(8 * 3600)),
    ]


def _cameras(said: Json, size: PlantSize) -> list[str]:
    running = [one for one in said if one["state"] == "RUNNING" and one["is_live"]]
    return _differs("cameras that run", len(running), size.boxes * size.cameras)


def _boxes(said: Json, size: PlantSize) -> list[str]:
    return _differs("boxes that inspect", sum(one["is_inspecting"] for one in said), size.boxes)


def _chart(said: Json, size: PlantSize, box: int | None = None, camera: int | None = None) -> list[str]:
    charts = said["charts"]
    events = sum(sum(one["series"]["events"]) for one in charts)
    inspected_s = sum(sum(one["series"]["inspected_s"]) for one in charts)
    cameras = (size.boxes if box is None else 1) * (size.cameras if camera is None else 1)
    alive_s = said["time"]["known_utc"] - size.until_utc
    whole_s = cameras * (size.days * 86_400 - size.missing_s(0, size.until_utc) + alive_s)
    recorded = size.products_of(box, camera)
    since_utc = said["time"]["time"]["since_utc"]
    if since_utc > size.since_utc:
        return [f"the chart begins {since_utc - size.since_utc:g} s late"]
    return [*_differs("events", events, recorded), *_differs("inspected", inspected_s, whole_s)]


def main() -> int:
    """Fill, measure, print, and return 1 where an aim is missed or an answer is wrong."""
    given = argparse.ArgumentParser(description="What the pages of one desk for many boxes cost the database.")
    given.add_argument("--boxes", type=int, default=25)
    given.add_argument("--cameras", type=int, default=40, help="of each box")
    given.add_argument("--days", type=int, default=30)
    given.add_argument("--hours", type=int, default=24, help="of which there are minutes, parts and lots")
    given.add_argument("--events", type=int, default=300_000)
    given.add_argument("--parts", type=int, default=300_000)
    options = given.parse_args()
    size = PlantSize(**vars(options), until_utc=time.time() // 60 * 60)
    missed = wrong = 0
    with running_postgres() as server, tempfile.TemporaryDirectory() as folder:
        url = server.new_database()
        began_s = time.monotonic()
        fill(url, size)
        print(f"{size.boxes} boxes, {size.boxes * size.cameras} cameras: filled in {time.monotonic() - began_s:.0f} s")
        load = " ".join(f"{one:.1f}" for one in os.getloadavg())
        print(f"load {load} (1, 5, 15 min), {os.cpu_count()} cores\n  wall    desk  database      kB")
        with central_desk(url, Path(folder)) as client:
            for cost, words in costs(MeasuredDesk(client, server, url), size):
                late = "" if cost.database_s <= cost.aim_s else f"  beyond {cost.aim_s:g} s"
                times = f"{cost.wall_s:6.2f}  {cost.desk_s:6.2f}    {cost.database_s:6.2f}  {cost.kbytes:6.0f}"
                print(f"{times}  {cost.address}{late}{''.join(f'  WRONG {one}' for one in words)}")
                missed += bool(late)
                wrong += len(words)
    print(f"{missed} beyond their aim, {wrong} figures other than recorded")
    return 1 if missed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
