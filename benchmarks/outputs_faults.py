# SPDX-License-Identifier: AGPL-3.0-or-later
"""What breaks between the records and a subscriber, and what arrives: real commits, process, broker, network.

Events are committed every 200 ms, as a line does. A broker (mosquitto) is away, killed again and again, or silent
behind a proxy that forwards no more; the outputs' process is killed. Then every event must have arrived, in each
camera's order, twice at most what was on its way.

Run: python -m benchmarks.outputs_faults [--quick | --long] [--only FAULT]; 10 minutes. `--long` has the broker away for
10 minutes at 50 events a second, 30,000 of them, and times messages for 5 minutes: 20 minutes with the rest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from tests.fakes.broker import Broker, CutProxy, Received, Subscriber, running_broker
from tests.fakes.desk_records import DeskRecords, writing

from benchmarks.rounds import Report, percentile
from vision_line.outputs.mqtt_client import IN_FLIGHT
from vision_line.records.schema import transaction

CONSOLE = Console(stderr=True)
CAMERAS = ("cam1", "cam2", "cam3", "cam4")
COMMIT_S = 0.2
ARRIVE_S = 180.0
#: From a commit to the subscriber, where nothing breaks: on a machine that does nothing else.
AIM_P50_MS, AIM_P99_MS = 250.0, 450.0
STREAMS = """[[output]]
type = "mqtt"
name = "plant"
url = "mqtt://127.0.0.1:{port}"
topic = "line"
kinds = ["event"]
since = "all"
timeout_s = {timeout_s}
"""


class Site:
    """Records that are written to, a broker with a subscriber, and the outputs' process, perhaps behind a proxy."""

    def __init__(self, folder: Path, rows: DeskRecords, broker: Broker, *, through_proxy: bool) -> None:
        self.folder = folder
        self.broker = broker
        self.proxy = CutProxy(broker.port) if through_proxy else None
        self.subscriber = Subscriber(broker.port, "line/+/event")
        port = broker.port if self.proxy is None else self.proxy.port
        (folder / "streams.toml").write_text(
            STREAMS.format(port=port, timeout_s=10.0 if self.proxy is None else 2.0), encoding="utf-8"
        )
        self._rows = rows
        self._run = rows.run(0, None, *CAMERAS)
        self._count = 0
        self.first_timed = 0
        self.committed_utc: list[float] = []
        self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "vision_line", "outputs", "--streams", str(self.folder / "streams.toml")]
        command += ["--record", str(self.folder)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def restart_outputs(self) -> None:
        """Kill the outputs' process, and start another one."""
        self.process.kill()
        self.process.wait()
        self.process = self._started()

    def memory_mb(self) -> float:
        """Return what the outputs' process holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def write(self, per_second: float, until: Callable[[], bool]) -> None:
        """Commit events as a line does, until told."""
        due_s = time.monotonic()
        while not until():
            self._commit(max(1, round(per_second * COMMIT_S)))
            due_s += COMMIT_S
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _commit(self, events: int) -> None:
        with transaction(self._rows.connection):
            for _ in range(events):
                self._event(CAMERAS[self._count % len(CAMERAS)])
        self.committed_utc += [time.time()] * events

    def _event(self, camera: str) -> None:
        self._count += 1
        seen = (time.time(), float(self._count))
        self._rows.connection.execute(
            """INSERT INTO events (run, camera, station, recipe, event_id, class, verdict, phase, ended, score,
            top_score, hits, x1, y1, x2, y2, width, height, sequence, first_seen_utc, first_seen_s, last_seen_utc,
            last_seen_s, confirmed_sequence) VALUES (?, ?, '', '', ?, 'open', 'reject', 'end', 1, 0.5, 0.9, 3, 1, 2, 30,
            40, 640, 360, ?, ?, ?, ?, ?, ?)""",
            (self._run, camera, f"e{self._count}", self._count, *seen, *seen, self._count),
        )

    def wait_for_more(self) -> None:
        """Wait until something arrives: the outputs' process has started, and sends."""
        before = len(self.subscriber.received)
        while len(self.subscriber.received) == before:
            time.sleep(0.01)

    def arrived(self) -> list[Received]:
        """Return what has arrived, once all of it has, or time is up."""
        due_s = time.monotonic() + ARRIVE_S
        while self._distinct() < self._count and time.monotonic() < due_s:
            time.sleep(0.5)
        return list(self.subscriber.received)

    def _distinct(self) -> int:
        return len({message.content["event_id"] for message in list(self.subscriber.received)})

    def outcome(self) -> Outcome:
        """Return what came of it."""
        # What the broker gives its subscriber again after its own death is not sent again by us.
        seen: set[object] = set()
        contents = []
        for message in self.arrived():
            content = message.content
            if content["event_id"] not in seen or not message.is_redelivered:
                contents.append(content)
            seen.add(content["event_id"])
        ids = [str(content["event_id"]) for content in contents]
        orders = {camera: list(dict.fromkeys(_numbers(contents, camera))) for camera in CAMERAS}
        is_ordered = all(order == sorted(order) for order in orders.values())
        return Outcome(self._count, self._count - len(set(ids)), len(ids) - len(set(ids)), is_ordered=is_ordered)

    def close(self) -> None:
        """End everything but the broker."""
        self.process.kill()
        self.process.wait()
        self.subscriber.close()
        if self.proxy is not None:
            self.proxy.close()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What arrived of what was committed."""

    committed: int
    lost: int
    repeated: int
    is_ordered: bool


@dataclass(slots=True)
class Measured:
    """What a fault leaves beside its outcome."""

    troubles: int
    facts: dict[str, object] = field(default_factory=dict)


def _numbers(contents: list[dict[str, object]], camera: str) -> Iterator[int]:
    return (int(str(content["event_id"])[1:]) for content in contents if content["camera"] == camera)


@contextmanager
def open_site(*, through_proxy: bool = False) -> Iterator[Site]:
    """Yield a site in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="outputs-") as name:
        folder = Path(name) / "records"
        folder.mkdir()
        with running_broker(Path(name) / "broker", saves_at_once=False) as broker, writing(folder) as rows:
            site = Site(folder, rows, broker, through_proxy=through_proxy)
            try:
                yield site
            finally:
                site.close()


def while_writing(site: Site, per_second: float, fault: Callable[[Site], Measured]) -> Measured:
    """Do `fault` while events are committed in this thread: the connection is of this thread."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(fault, site)
        site.write(per_second, done.done)
        return done.result()


def broker_away(away_s: float) -> Callable[[Site], Measured]:
    """Return the fault: the broker is gone for so long."""

    def play(site: Site) -> Measured:
        site.wait_for_more()
        before_mb = site.memory_mb()
        site.broker.stop()
        time.sleep(away_s)
        grown_mb = site.memory_mb() - before_mb
        site.broker.start()
        return Measured(1, {"memory grown, MB": round(grown_mb, 1), "away, s": away_s})

    return play


def outputs_killed(times: int) -> Callable[[Site], Measured]:
    """Return the fault: the outputs' process is killed so often."""

    def play(site: Site) -> Measured:
        for number in range(times):
            site.wait_for_more()
            time.sleep(number % 10 * 0.05)
            site.restart_outputs()
        return Measured(times)

    return play


def broker_killed(times: int) -> Callable[[Site], Measured]:
    """Return the fault: the broker is killed so often.

    It has its subscriber again before the outputs find it: what it acknowledged and only held in memory for somebody
    who is away would die with it the next time, and that is between those two.
    """

    def play(site: Site) -> Measured:
        assert site.proxy is not None
        for number in range(times):
            time.sleep(4.0 + number % 5 * 0.37)
            site.proxy.is_cut = True
            site.broker.kill()
            time.sleep(0.5)
            site.broker.start()
            site.subscriber.wait_connected()
            site.proxy.is_cut = False
        return Measured(times)

    return play


def silent_cuts(times: int) -> Callable[[Site], Measured]:
    """Return the fault: so often nothing comes through any more, without a word."""

    def play(site: Site) -> Measured:
        assert site.proxy is not None
        for number in range(times):
            time.sleep(3.0 + number % 3 * 0.41)
            site.proxy.is_cut = True
            time.sleep(5.0)
            site.proxy.is_cut = False
        return Measured(times)

    return play


def quiet(seconds: float) -> Callable[[Site], Measured]:
    """Return no fault: how long a message takes."""

    def play(site: Site) -> Measured:
        site.wait_for_more()
        time.sleep(1.0)
        site.first_timed = len(site.committed_utc)
        time.sleep(seconds)
        return Measured(0)

    return play


def latencies_ms(site: Site) -> list[float]:
    """Return how long each event took from its commit to the subscriber; the process starts in the first seconds."""
    first: dict[int, float] = {}
    for message in site.subscriber.received:
        first.setdefault(int(str(message.content["event_id"])[1:]), message.at_utc)
    return [
        (at_utc - site.committed_utc[number - 1]) * 1000
        for number, at_utc in first.items()
        if number > site.first_timed
    ]


class Fault(NamedTuple):
    """What is played while so many events a second are committed."""

    name: str
    per_second: float
    play: Callable[[Site], Measured]
    through_proxy: bool = False


def faults_of(*, quick: bool, long: bool) -> list[Fault]:
    """Return the faults at the length that is asked for."""
    some = 5 if quick else 1
    away = Fault("broker away", 50, broker_away(600)) if long else Fault("broker away", 500, broker_away(60 / some))
    return [
        Fault("nothing breaks", 50, quiet(300 if long else 60 / some)),
        away,
        Fault("outputs killed", 100, outputs_killed(50 // some)),
        Fault("broker killed", 50, broker_killed(20 // some), through_proxy=True),
        Fault("silent cut", 50, silent_cuts(10 // some), through_proxy=True),
    ]


def chosen_faults() -> list[Fault]:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a fifth of each")
    length.add_argument("--long", action="store_true", help="the broker away for 10 minutes, messages timed for 5")
    names = [fault.name for fault in faults_of(quick=False, long=False)]
    parser.add_argument("--only", choices=names, action="append", help="this one alone; may be given more than once")
    asked = parser.parse_args()
    faults = faults_of(quick=asked.quick, long=asked.long)
    return [fault for fault in faults if not asked.only or fault.name in asked.only]


def main() -> int:
    """Play every fault; return 1 where something is lost, out of order, late, or comes twice too often."""
    report, broken = Report("outputs_faults"), 0
    for name, per_second, play, through_proxy in chosen_faults():
        with open_site(through_proxy=through_proxy) as site:
            measured = while_writing(site, per_second, play)
            outcome = site.outcome()
            took = latencies_ms(site)
        most = IN_FLIGHT * measured.troubles
        holds = not outcome.lost and outcome.is_ordered and outcome.repeated <= most
        in_time = percentile(took, 0.5) <= AIM_P50_MS and percentile(took, 0.99) <= AIM_P99_MS
        broken += not holds or (measured.troubles == 0 and not in_time)
        report.add(
            fault=name,
            times=measured.troubles,
            committed=outcome.committed,
            lost=outcome.lost,
            repeated=f"{outcome.repeated} of at most {most}",
            ordered=outcome.is_ordered,
        )
        report.facts[name] = {
            **measured.facts,
            "commit to subscriber, p50, ms": round(percentile(took, 0.5)),
            "commit to subscriber, p99, ms": round(percentile(took, 0.99)),
        }
        CONSOLE.print(f"{name}: {outcome}", highlight=False)
    report.publish()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
