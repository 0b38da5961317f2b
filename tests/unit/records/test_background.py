# SPDX-License-Identifier: AGPL-3.0-or-later
"""Threads that matter less: whatever priority the program was started with, they begin."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CHILD = """
import os, sys, threading
from vision_line.records.background import yield_to_inspection
if os.getuid() == 0:
    os.setuid(65534)
os.nice(int(sys.argv[1]) - os.nice(0))
yield_to_inspection()
print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
"""


@pytest.mark.parametrize(("started_with", "expected"), [(5, 10), (15, 15)])
def test_a_thread_yields_and_never_asks_for_more(started_with: int, expected: int) -> None:
    """A user may not raise a priority: a program with `nice` 15 would end its threads by asking for 10."""
    command = [sys.executable, "-c", _CHILD, str(started_with)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (str(expected), "")
