# SPDX-License-Identifier: AGPL-3.0-or-later
"""An emulated processor that has AVX2 and neither VNNI nor AVX-512, for tests of what such a processor computes."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

EMULATOR = "qemu-x86_64"
#: A program takes half a minute on a quiet machine; this is for a slow, busy one.
TIMEOUT_S = 400
_ROOT = Path(__file__).parents[2]

needs_emulator = pytest.mark.skipif(
    shutil.which(EMULATOR) is None or platform.machine() != "x86_64",
    reason=f"needs an x86-64 machine and {EMULATOR}: apt-get install qemu-user",
)


def run_emulated(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `program`, the text of a Python program, on the emulated processor; whether it fails is the caller's affair.

    The project and the installed packages can be imported. It is some fifty times slower than the machine.
    """
    places = [_ROOT / "app", _ROOT, *dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))]
    return subprocess.run(
        [EMULATOR, "-cpu", "max", Path(sys.executable).resolve(), "-c", program, *map(str, arguments)],
        env={"PYTHONPATH": os.pathsep.join(map(str, places)), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
