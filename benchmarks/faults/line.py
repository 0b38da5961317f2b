# SPDX-License-Identifier: AGPL-3.0-or-later
"""vision-line as a subject: the installed command in a process of its own, and its ledger read afterwards."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import COMMAND
from benchmarks.faults.clock import Stamped
from benchmarks.faults.site import Host
from benchmarks.faults.subject import VICTIM, Account, Inspection, ReportedGap
from benchmarks.faults.waiting import EndedError, wait_until
from vision_line.records.schema import open_reader

#: Of every camera: so many inspections in a stay of so long make an event; well within what the machine can do.
DEFAULTS = "dwell_s = 2.0\nmin_hits = 3\ninspect_fps = 8.0\nmax_staleness_ms = 500\n"
START_S = 60.0
_INSPECTIONS = "SELECT * FROM detections WHERE camera_utc IS NOT NULL ORDER BY arrived_s"
_REPORTED = "SELECT camera, cause, started_s, ended_s FROM not_inspected ORDER BY started_s"
#: What `off` and `crashed` tell began in another run, and may have by another monotonic clock.
_ROWS = (
    "SELECT arrived_s, arrived_utc FROM detections UNION ALL SELECT at_s, at_utc FROM states"
    " UNION ALL SELECT started_s, started_utc FROM not_inspected WHERE cause NOT IN ('off', 'crashed')"
)
_STEPS = "SELECT to_utc - from_utc FROM clock_steps ORDER BY run, clock"
_INSPECTED = re.compile(r"(\d+)/(\d+) running .* inspected (\d+)")


@dataclass(slots=True)
class VisionLine:
    """One run, or several one after the other, into the same record directory."""

    folder: Path
    host: Host
    urls: dict[str, str]
    records: Path
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    name: str = "vision-line"

    def launch(self) -> None:
        """Start it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        streams = "".join(f'[[stream]]\nname = "{name}"\nurl = "{url}"\n' for name, url in self.urls.items())
        text = f"config_version = 1\n[record]\nmin_free_mb = 1\n[defaults]\n{DEFAULTS}{streams}"
        (self.folder / "streams.toml").write_text(text, encoding="utf-8")
        options = ("--streams", "streams.toml", "--headless", "--record", str(self.records.absolute()))
        self.processes.append(self._process([*self.host.prefix, str(COMMAND), *options]))

    def wait(self, cameras: int) -> None:
        """Wait until so many cameras are inspected."""
        wait_until(lambda: self._runs(cameras), START_S, "vision-line did not start")

    def signal(self, number: int) -> None:
        """Send the running process a signal."""
        self.processes[-1].send_signal(number)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.processes[-1].kill()
        self.processes[-1].wait()

    def stop(self) -> Account:
        """End it and return what its ledger says."""
        process = self.processes[-1]
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        if process.poll() is None:
            process.kill()
            process.wait()
        return self._account(process.returncode)

    def close(self) -> None:
        """Leave no process behind."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()

    def _process(self, command: list[str]) -> subprocess.Popen[bytes]:
        status = self.folder / f"status-{len(self.processes) + 1}"
        with status.open("wb") as output, (self.folder / "log").open("ab") as log:
            environment = os.environ | self.environment
            return subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=log, env=environment)

    def _runs(self, cameras: int) -> bool:
        if self.processes[-1].poll() is not None:
            raise EndedError(self.name, self.processes[-1].returncode, self.folder / "log")
        lines = (self.folder / f"status-{len(self.processes)}").read_text(encoding="utf-8").splitlines()
        found = _INSPECTED.search(lines[-1]) if lines else None
        return found is not None and int(found[1]) >= cameras and int(found[3]) >= cameras

    def _account(self, exit_code: int) -> Account:
        with closing(open_reader(self.records)) as reader:
            (damaged,) = reader.execute(
                "SELECT coalesce(sum(dropped_corrupt), 0) FROM coverage WHERE camera = ?", (VICTIM,)
            ).fetchone()
            return Account(
                cameras=tuple(self.urls),
                inspections=[_inspection(row) for row in reader.execute(_INSPECTIONS)],
                reported=[ReportedGap(*row) for row in reader.execute(_REPORTED)],
                exit_code=exit_code,
                damaged=damaged,
                rows=[Stamped(*row) for row in reader.execute(_ROWS)],
                steps_s=tuple(step for (step,) in reader.execute(_STEPS)),
            )


def _inspection(row: sqlite3.Row) -> Inspection:
    """Return when a detection's frame was there, and how old it was when its result was.

    The camera's own clock is this machine's: its difference from the arrival owes nothing to the program's estimate,
    and, by the monotonic clock, nothing to what the program believes the time to be.
    """
    arrived_utc = row["arrived_s"] + time.time() - time.monotonic()
    inspecting_s = (row["latency_ms"] - row["behind_ms"]) / 1e3
    return Inspection(row["camera"], row["arrived_s"], arrived_utc - row["camera_utc"] + inspecting_s)
