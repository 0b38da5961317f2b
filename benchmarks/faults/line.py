# SPDX-License-Identifier: AGPL-3.0-or-later
"""vision-line as a subject: the installed command in a process of its own, and its ledger read afterwards."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import COMMAND
from benchmarks.faults.site import Host
from benchmarks.faults.subject import VICTIM, Account, Look, Told
from benchmarks.faults.waiting import wait_until
from vision_line.records.schema import open_reader

#: Of every camera: so many looks in a stay of so long make an event; well within what the machine can do.
DEFAULTS = "dwell_s = 2.0\nmin_hits = 3\ninspect_fps = 8.0\nmax_staleness_ms = 500\n"
START_S = 60.0
_INSPECTED = re.compile(r"(\d+)/(\d+) running .* inspected (\d+)")


@dataclass(slots=True)
class VisionLine:
    """One run, or several one after the other, into the same record directory."""

    folder: Path
    host: Host
    urls: dict[str, str]
    records: Path | None = None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    name: str = "vision-line"

    def start(self, cameras: int) -> None:
        """Start it and wait until so many cameras are inspected."""
        self.folder.mkdir(parents=True, exist_ok=True)
        streams = "".join(f'[[stream]]\nname = "{name}"\nurl = "{url}"\n' for name, url in self.urls.items())
        text = f"config_version = 1\n[record]\nmin_free_mb = 1\n[defaults]\n{DEFAULTS}{streams}"
        (self.folder / "streams.toml").write_text(text, encoding="utf-8")
        output = self.folder / f"status-{len(self.processes)}"
        command = (
            *self.host.prefix,
            str(COMMAND),
            "--streams",
            "streams.toml",
            "--headless",
            "--record",
            self._records,
        )
        with output.open("wb") as status, (self.folder / "log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, cwd=self.folder, stdout=status, stderr=log))
        wait_until(lambda: self._runs(output, cameras), START_S, "vision-line did not start")

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

    @property
    def _records(self) -> str:
        return str(self.records or self.folder / "records")

    def _runs(self, output: Path, cameras: int) -> bool:
        if self.processes[-1].poll() is not None:
            raise RuntimeError(f"vision-line ended with {self.processes[-1].returncode}: see {self.folder / 'log'}")
        lines = output.read_text(encoding="utf-8").splitlines()
        found = _INSPECTED.search(lines[-1]) if lines else None
        return found is not None and int(found[1]) >= cameras and int(found[3]) >= cameras

    def _account(self, exit_code: int) -> Account:
        with closing(open_reader(Path(self._records))) as reader:
            told = [
                Told(row["camera"], row["cause"], row["started_s"], row["ended_s"])
                for row in reader.execute(
                    "SELECT camera, cause, started_s, ended_s FROM not_inspected ORDER BY started_s"
                )
            ]
            # The camera's own clock is this machine's: its difference from the arrival owes nothing to our estimate.
            looks = [
                Look(
                    row["camera"],
                    row["arrived_s"],
                    row["arrived_utc"] - row["camera_utc"] + (row["latency_ms"] - row["behind_ms"]) / 1e3,
                )
                for row in reader.execute("SELECT * FROM detections WHERE camera_utc IS NOT NULL ORDER BY arrived_s")
            ]
            (damaged,) = reader.execute(
                "SELECT coalesce(sum(dropped_corrupt), 0) FROM coverage WHERE camera = ?", (VICTIM,)
            ).fetchone()
        return Account(tuple(self.urls), looks, told, exit_code, damaged)


def names(victims: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Return the cameras' URLs by name: the first victim's, and the others'."""
    return {VICTIM: victims[0]} | {f"other{number}": url for number, url in enumerate(others, start=1)}
