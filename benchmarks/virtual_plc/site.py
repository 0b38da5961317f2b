# SPDX-License-Identifier: AGPL-3.0-or-later
"""A whole site: simulated cameras behind proxies, the line, `vision-line lanes`, a proxy, and the PLC behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.fakes.broker import CutProxy
from tests.fakes.ports import free_port

from benchmarks.virtual_plc.belt import EJECTOR_PX, MM_PER_COUNT, SPEED_PX_S, WINDOW_PX, Belt, plans
from benchmarks.virtual_plc.plc import ACTUATOR_S, VirtualPlc
from benchmarks.virtual_plc.witness import InspectionWitness
from vision_line.simulator.clips import default_directory, ensure_planned_clips
from vision_line.simulator.live import Simulator

START_S = 180.0
_HEAD = """config_version = 1
[record]
min_free_mb = 8
evidence_max_mb = 20
[modbus]
listen = "127.0.0.1:{port}"
accept_writes = true
[defaults]
dwell_s = 1.6
min_hits = 5
inspect_fps = 12.5
max_inspection_gap_ms = 250 # leaves at least 5 in 1.6 s: so ledger and lanes ask for the same
"""
_STREAM = '[[stream]]\nname = "{name}"\nurl = "{url}"\n'
_LANE = """[[lane]]
name = "{name}"
cameras = ["{name}"]
window_mm = [{begin}, {end}]
mm_per_count = {count}
belt_mm_per_s = {speed}
ejector_mm = {ejector}
camera_delay_ms = 20
plc_scan_ms = 30
actuator_ms = {actuator}
reserve_ms = 60
"""


class Site:
    """One or more lanes, each with a camera. `records` may be a small disk."""

    def __init__(self, folder: Path, records: Path, lanes: int, frames: int) -> None:
        self.folder, self.records = folder, records
        self.kills_s: list[float] = []
        self.names = [f"cam{number:02d}" for number in range(1, lanes + 1)]
        self._stack = ExitStack()
        scene_plans = plans(lanes, frames)
        clips = ensure_planned_clips(scene_plans, default_directory())
        self._sent = folder / "sent.jsonl"
        simulator = self._stack.enter_context(Simulator(clips, 0, self._sent))
        self._urls = simulator.urls
        self.camera_proxy = self._proxy(simulator.port)
        self.port = free_port()
        self.plc_proxy = self._proxy(self.port)
        self._urls[self.names[0]] = f"rtsp://127.0.0.1:{self.camera_proxy.port}/{self.names[0]}"
        self.write_streams()
        self.line = self._started()
        self.lanes = self._started("lanes")
        self._stack.callback(self._end)
        self.witness = InspectionWitness(records)
        self._stack.callback(self.witness.close)
        self.belts = [
            Belt(name, plan, self._frame_0_s(name)) for name, plan in zip(self.names, scene_plans, strict=True)
        ]
        self.plc = VirtualPlc(self.plc_proxy.port, self.belts)
        self.plc.start()
        self._stack.callback(self.plc.close)
        self.wait_until_ready()

    def _proxy(self, port: int) -> CutProxy:
        proxy = CutProxy(port)
        self._stack.callback(proxy.close)
        return proxy

    def write_streams(self, more_cameras: int = 0) -> None:
        """Write the configuration, with cameras more than there are lanes for."""
        text = _HEAD.format(port=self.port)
        text += "".join(_STREAM.format(name=name, url=url) for name, url in self._urls.items())
        urls = list(self._urls.values())
        text += "".join(
            _STREAM.format(name=f"more{number:02d}", url=urls[number % len(urls)]) for number in range(more_cameras)
        )
        for name in self.names:
            text += _LANE.format(
                name=name,
                begin=WINDOW_PX[0],
                end=WINDOW_PX[1],
                count=MM_PER_COUNT,
                speed=SPEED_PX_S,
                ejector=EJECTOR_PX,
                actuator=1000 * ACTUATOR_S,
            )
        partial = self.folder / "streams.part"
        partial.write_text(text, encoding="utf-8")
        partial.replace(self.folder / "streams.toml")

    def _started(self, *command: str) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "vision_line", *command, "--streams", "streams.toml"]
        words += ["--record", str(self.records)] + ([] if command else ["--headless"])
        with (self.folder / f"{'-'.join(command) or 'line'}.log").open("ab") as log:
            return subprocess.Popen(words, cwd=self.folder, stdout=log, stderr=log)

    def _frame_0_s(self, camera: str) -> float:
        """Return when a frame 0 of a camera was sent: the simulator keeps its step for ever."""
        ends_s = time.monotonic() + START_S
        while time.monotonic() < ends_s and self.line.poll() is None:
            for line in self._sent.read_text(encoding="utf-8").splitlines()[:-1]:
                sent = json.loads(line)
                if sent["camera"] == camera:
                    return float(sent["sent_utc_s"]) - time.time() + time.monotonic() - float(sent["index"]) / 25
            time.sleep(0.2)
        raise TimeoutError(f"{camera} was not asked for")

    def wait_until_ready(self) -> None:
        """Wait until the PLC may accept."""
        self.wait_for(lambda: not self.plc.fault)

    def wait_for(self, met: Callable[[], bool]) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: it never does.
        """
        ends_s = time.monotonic() + START_S
        while not met():
            if time.monotonic() > ends_s:
                raise TimeoutError(f"the PLC says: {self.plc.fault or 'ready'}{self._last_words()}")
            time.sleep(0.002)

    def _last_words(self) -> str:
        """Return the ends of what the line and the lanes said."""
        said = ((path.name, path.read_text(encoding="utf-8")[-3000:]) for path in sorted(self.folder.glob("*.log")))
        return "".join(f"\n{name}:\n{text}" for name, text in said)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End a process as a crash does."""
        if process is self.line:
            self.kills_s.append(time.monotonic())
        process.kill()
        process.wait()

    def restart_line(self) -> None:
        """Start the line again after it was killed."""
        self.line = self._started()

    def restart_lanes(self) -> None:
        """Start `vision-line lanes` again after it was killed."""
        self.lanes = self._started("lanes")

    def _end(self) -> None:
        for process in (self.line, self.lanes):
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.terminate()
        for process in (self.line, self.lanes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
