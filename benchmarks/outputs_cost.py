# SPDX-License-Identifier: AGPL-3.0-or-later
"""What outputs cost the line: its inspected rate with all of them on against without, in turns.

One line of 16 cameras runs all the time and has more to inspect than the machine can, so that whatever else takes a
core shows. Beside it `vision-line outputs` tells a broker (mosquitto) with a subscriber, a web server and an OPC UA
server what is recorded. In turns of some seconds it works or is stopped, for a machine's speed changes within minutes;
what waits after a stop is told before the next turn is measured. It waits behind inspection as the one does that a run
starts. Broker, subscriber and web server are on this machine too, so the line pays for them as it would not in a plant:
what each takes of the processor is said beside the rate. Aim: at least 0.99; and that an output which waits behind a
full box is still no later than a second, as a plant is promised: from an entry's moment to the broker's subscriber.

Run: python -m benchmarks.outputs_cost [PAIRS] [SECONDS]; 40 pairs of 5 s take 10 minutes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from tests.fakes.broker import Broker, Received, Subscriber, running_broker
from tests.fakes.ports import free_port
from tests.fakes.web_receiver import WebReceiver, receiving

from benchmarks.cameras import ensure_long_videos, gstreamer_cameras
from benchmarks.contenders import write_streams
from benchmarks.line_rate import rate_over, wait_for_inspection
from benchmarks.named_threads import cpu_times
from benchmarks.rounds import Report, add_rounds, interleave, percentile
from vision_line.simulator.clips import default_directory, ensure_clips
from vision_line.telemetry.output_status import known_outputs

CAMERAS = 16
AIM = 0.99
NAMES = ("broker", "server", "opcua")
#: For the start of the outputs behind a busy line; for what was recorded in a turn without them; for the line alone.
START_S, CATCH_UP_S, SETTLE_S = 120.0, 3.0, 1.0
#: How a run starts its outputs: behind inspection.
BEHIND = ("nice", "-n", "10", "chrt", "--batch", "0")
#: Everything that a run writes.
KINDS = '["event", "evidence", "state", "interval", "minute", "run", "camera", "near_miss", "seal"]'
OUTPUTS = """
[[output]]
type = "mqtt"
name = "broker"
url = "mqtt://127.0.0.1:{broker}"
topic = "line"
kinds = {kinds}

[[output]]
type = "webhook"
name = "server"
url = "{url}"
source = "/line"
batch = 20
kinds = {kinds}

[[output]]
type = "opcua"
name = "opcua"
listen = "127.0.0.1:{opcua}"
encrypted = false
anonymous = true
"""


class Line:
    """A run, with outputs beside it or without."""

    def __init__(
        self, folder: Path, broker: Broker, subscriber: Subscriber, server: WebReceiver, seconds: float
    ) -> None:
        self.folder = folder
        self.records = folder / "records"
        self._broker = broker
        self._subscriber = subscriber
        self._server = server
        self._seconds = seconds
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._measured_s = 0.0
        self._outputs = 0
        self.sent: list[dict[str, int]] = []
        self.late_ms: list[float] = []

    @contextmanager
    def running(self, urls: list[str]) -> Iterator[None]:
        """Run the line on cameras, and yield once it inspects."""
        write_streams(self.folder / "streams.toml", urls)
        outputs = OUTPUTS.format(broker=self._broker.port, url=self._server.url, kinds=KINDS, opcua=free_port())
        with (self.folder / "streams.toml").open("a", encoding="utf-8") as file:
            file.write(outputs)
        command = [sys.executable, "-m", "vision_line", "--streams", "streams.toml", "--headless"]
        with (self.folder / "line.txt").open("w") as log:
            line = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
            try:
                wait_for_inspection(self.records, line)
                yield
            finally:
                line.terminate()
                line.wait()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Have outputs beside the line, and yield once each has told something."""
        command = [*BEHIND, sys.executable, "-m", "vision_line", "outputs", "--streams", "streams.toml"]
        with (self.folder / "outputs.txt").open("a") as log:
            outputs = subprocess.Popen([*command, "--record", "records"], cwd=self.folder, stdout=log, stderr=log)
            try:
                self._outputs = outputs.pid
                self._wait_for_messages_of_all(outputs)
                yield
            finally:
                outputs.send_signal(signal.SIGCONT)
                outputs.terminate()
                outputs.wait()

    def _wait_for_messages_of_all(self, outputs: subprocess.Popen[bytes]) -> None:
        ends_s = time.monotonic() + START_S
        while time.monotonic() < ends_s and outputs.poll() is None:
            sent = self._sent_so_far()
            if all(sent.get(name) for name in NAMES):
                return
            time.sleep(1.0)
        raise RuntimeError(f"not all outputs tell something:\n{(self.folder / 'outputs.txt').read_text()[-2000:]}")

    def with_outputs(self) -> float:
        """Return the inspected frames a second beside outputs."""
        os.kill(self._outputs, signal.SIGCONT)
        time.sleep(CATCH_UP_S)
        before_sent = self._sent_so_far()
        before, began_s, heard = self._taken(), time.monotonic(), len(self._subscriber.received)
        rate = rate_over(self.records, self._seconds)
        for name, spent_s in self._taken().items():
            self._spent[name] += spent_s - before[name]
        self._measured_s += time.monotonic() - began_s
        self.late_ms += [
            _late_ms(message) for message in self._subscriber.received[heard:] if message.topic.endswith("/event")
        ]
        self.sent.append({name: number - before_sent.get(name, 0) for name, number in self._sent_so_far().items()})
        return rate

    def without(self) -> float:
        """Return the inspected frames a second of the line alone."""
        os.kill(self._outputs, signal.SIGSTOP)
        time.sleep(SETTLE_S)
        return rate_over(self.records, self._seconds)

    def shares(self) -> dict[str, float]:
        """Return what each took of a core while outputs were measured."""
        return {name: round(spent / self._measured_s, 4) for name, spent in self._spent.items()}

    def _sent_so_far(self) -> dict[str, int]:
        return {output.name: output.sent for output in known_outputs(self.records)}

    def _taken(self) -> dict[str, float]:
        broker = self._broker.process
        return {
            "outputs": sum(cpu_times(self._outputs).values()),
            "broker": 0.0 if broker is None else sum(cpu_times(broker.pid).values()),
            "subscriber and web server": sum(cpu_times(os.getpid()).values()),
        }


def _late_ms(message: Received) -> float:
    """Return how long after its entry a message was with the subscriber, in milliseconds."""
    written = datetime.fromisoformat(str(message.content["time"]))
    return (message.at_utc - written.timestamp()) * 1000


def main() -> int:
    """Measure and publish; return 1 where the line pays more than it may."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    videos = ensure_long_videos(ensure_clips(4, 1), default_directory() / "long", 2)
    report = Report("outputs_cost")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(running_broker(folder / "broker", saves_at_once=False))
        server = stack.enter_context(receiving())
        cameras = stack.enter_context(gstreamer_cameras(videos, CAMERAS))
        subscriber = Subscriber(broker.port)
        stack.callback(subscriber.close)
        line = Line(folder, broker, subscriber, server, seconds)
        stack.enter_context(line.running(cameras.urls))
        stack.enter_context(line.telling())
        rounds = interleave({"with outputs": line.with_outputs, "without": line.without}, pairs, "inspected/s")
    add_rounds(report, rounds, "without")
    _, ratio, _ = rounds.ratio("with outputs", "without")
    sent = {name: sum(one.get(name, 0) for one in line.sent) for name in NAMES}
    report.facts["messages acknowledged meanwhile"] = sent
    report.facts["cores taken"] = line.shares()
    late_ms = {name: round(percentile(line.late_ms, share)) for name, share in (("p50", 0.5), ("p99", 0.99))}
    report.facts["ms from an entry to the subscriber"] = late_ms
    report.facts["aim"] = AIM
    report.publish()
    if silent := [name for name, number in sent.items() if not number]:
        raise RuntimeError(f"expected three outputs that told something, found that {silent} did not")
    return 0 if ratio >= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
