# SPDX-License-Identifier: AGPL-3.0-or-later
"""Threads and processes that matter less: whatever priority the program was started with, they begin."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_CHILD = """
import os, sys, threading
from contextlib import suppress
from vision_line.records.background import yield_to_inspection
with suppress(PermissionError):  # where these tests go behind others, root alone may begin with less
    os.setpriority(os.PRIO_PROCESS, 0, int(sys.argv[1]))
if os.getuid() == 0:
    os.setuid(65534)
began_with = os.getpriority(os.PRIO_PROCESS, 0)
yield_to_inspection()
print(began_with, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
"""


@pytest.mark.parametrize("started_with", [5, 15])
def test_a_thread_yields_and_never_asks_for_more(started_with: int) -> None:
    """A user may not raise a priority: a program with `nice` 15 would end its threads by asking for 10."""
    command = [sys.executable, "-c", _CHILD, str(started_with)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    began_with, ended_with = map(int, done.stdout.split())
    assert began_with in {started_with, os.getpriority(os.PRIO_PROCESS, 0)}
    assert (ended_with, done.stderr) == (max(10, began_with), "")


_PROCESS = """
import os
from pathlib import Path
from vision_line.records.background import let_inspection_go_first
let_inspection_go_first()
session = Path("/proc/self/autogroup")
print(os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), session.read_text() if session.exists() else "")
"""


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux alone has it")
def test_a_process_never_interrupts_what_inspects() -> None:
    """In a session of its own too: a kernel that shares the processor among sessions first has to be told."""
    niceness = max(10, os.getpriority(os.PRIO_PROCESS, 0))
    command = [sys.executable, "-c", _PROCESS]
    done = subprocess.run(command, check=True, capture_output=True, text=True, start_new_session=True)
    said = done.stdout.split()
    assert (said[:2], done.stderr) == ([str(niceness), str(os.SCHED_BATCH)], "")
    if Path("/proc/self/autogroup").exists():
        assert said[-2:] == ["nice", str(niceness)]
