# SPDX-License-Identifier: AGPL-3.0-or-later
"""What outputs cost the line: its inspected rate with all of them on against without, in paired rounds.

A line of 16 cameras that has more to inspect than the machine can, so that whatever else takes a core shows. With
`--outputs` a broker (mosquitto) with a subscriber and a web server take everything that is recorded; both are on this
machine too, so the line pays for them as it would not in a plant. Aim: at least 0.99.

Run: python -m benchmarks.outputs_cost [PAIRS] [SECONDS]; 7 pairs of 30 s take 10 minutes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.fakes.broker import Broker, Subscriber, running_broker
from tests.fakes.web_receiver import WebReceiver, receiving

from benchmarks.cameras import ensure_long_videos, gstreamer_cameras
from benchmarks.contenders import write_streams
from benchmarks.rounds import Report, add_rounds, interleave
from vision_line.simulator.clips import default_directory, ensure_clips
from vision_line.telemetry.output_status import known_outputs

CAMERAS = 16
AIM = 0.99
#: Everything that a run writes.
KINDS = '["event", "evidence", "state", "interval", "minute", "run", "camera", "near_miss", "seal"]'
OUTPUTS = """
[[output]]
type = "mqtt"
name = "broker"
url = "mqtt://127.0.0.1:{port}"
topic = "line"
since = "all"
kinds = {kinds}

[[output]]
type = "webhook"
name = "server"
url = "{url}"
source = "/line"
since = "all"
batch = 20
kinds = {kinds}
"""


class Line:
    """Runs the command on cameras that are there, in a folder of its own each time."""

    def __init__(self, folder: Path, urls: list[str], broker: Broker, server: WebReceiver, seconds: float) -> None:
        self._folder = folder
        self._urls = urls
        self._outputs = OUTPUTS.format(port=broker.port, url=server.url, kinds=KINDS)
        self._seconds = seconds
        self.sent: list[int] = []

    def rate(self, *, with_outputs: bool) -> float:
        """Return the inspected frames a second of a run; of one with outputs all must have got something."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        write_streams(self._folder / "streams.toml", self._urls)
        if with_outputs:
            with (self._folder / "streams.toml").open("a", encoding="utf-8") as file:
                file.write(self._outputs)
        command = [sys.executable, "-m", "vision_line", "--streams", "streams.toml", "--headless"]
        command += ["--duration", str(self._seconds), "--summary", "s.json", *(["--outputs"] if with_outputs else [])]
        subprocess.run(command, cwd=self._folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if with_outputs:
            self._note()
        totals = json.loads((self._folder / "s.json").read_text(encoding="utf-8"))["totals"]
        return float(totals["inspected_fps"])

    def _note(self) -> None:
        known = known_outputs(self._folder / "records")
        sent = [output.sent for output in known]
        if len(sent) != 2 or not all(sent):
            raise RuntimeError(f"expected two outputs that got something, found {known}")
        self.sent.append(sum(sent))


def main() -> int:
    """Measure and publish; return 1 where the line pays more than it may."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
    videos = ensure_long_videos(ensure_clips(4, 1), default_directory() / "long", 2)
    report = Report("outputs_cost")
    with (
        tempfile.TemporaryDirectory() as name,
        running_broker(Path(name) / "broker", saves_at_once=False) as broker,
        receiving() as server,
        gstreamer_cameras(videos, CAMERAS) as cameras,
    ):
        subscriber = Subscriber(broker.port)
        line = Line(Path(name) / "line", cameras.urls, broker, server, seconds)
        contenders = {
            "with outputs": partial(line.rate, with_outputs=True),
            "without": partial(line.rate, with_outputs=False),
        }
        rounds = interleave(contenders, pairs, "inspected/s")
        subscriber.close()
    add_rounds(report, rounds, "without")
    _, ratio, _ = rounds.ratio("with outputs", "without")
    report.facts["messages acknowledged a run"] = line.sent
    report.facts["aim"] = AIM
    report.publish()
    return 0 if ratio >= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
