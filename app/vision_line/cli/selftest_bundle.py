# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one file that `selftest --report` makes: the report, what the doctor finds, and what the checks printed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from vision_line.output_files import open_output
from vision_line.selftest.report import without_folders

#: A doctor that takes longer hangs.
_DOCTOR_S = 120.0
#: So much of the end of what was printed.
_LOG_BYTES = 1 << 20


def write_bundle(report: str, device: str, log: Path) -> Path:
    """Write it into the current folder, under a name of its own, and return that.

    Raises:
        RunError: it cannot be written.
    """
    at = time.strftime("%Y-%m-%d-%H%M%S", time.gmtime())
    path = Path(f"vision-line-selftest-{device.replace(':', '')}-{at}.zip")
    with open_output(path, "--report") as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
        archive.writestr("selftest.json", report)
        archive.writestr("doctor.json", without_folders(_doctor()))
        archive.writestr("log.txt", "\n".join(map(without_folders, _printed(log))) + "\n")
    return path


def _doctor() -> str:
    """Return what the doctor finds, in a process of its own: it imports what may end it."""
    command = [sys.executable, "-m", "vision_line", "doctor", "--json"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DOCTOR_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f'{{"error": "the doctor hung for {_DOCTOR_S:.0f} s"}}\n'
    return done.stdout or f"exit code {done.returncode}\n{done.stderr}"


def _printed(log: Path) -> list[str]:
    return log.read_bytes()[-_LOG_BYTES:].decode(errors="replace").splitlines()
