# SPDX-License-Identifier: AGPL-3.0-or-later
"""The lanes' process goes before ordinary ones where that is permitted, and not for ever."""

from __future__ import annotations

import signal
import subprocess
import sys

TRY = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))"
GO = """
import os, resource, threading
from vision_line.lanes.urgency import go_first
is_first = go_first()
found = []
thread = threading.Thread(target=lambda: found.append(os.sched_getscheduler(0)))
thread.start()
thread.join()
print(is_first, found[0] == os.SCHED_RR)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_it_goes_first_with_its_threads_where_that_is_permitted() -> None:
    is_permitted = run(TRY).returncode == 0
    assert run(GO).stdout.split() == [str(is_permitted)] * 2


def test_one_that_never_waits_is_ended_by_the_kernel() -> None:
    """Where it goes first; else it takes no core from others."""
    spin = "import time; ends_s = time.monotonic() + 20\nwhile is_first and time.monotonic() < ends_s: pass"
    short = GO.replace(
        "is_first = go_first()",
        "from vision_line.lanes import urgency\nurgency._LONGEST_BUSY_US = 200_000\nis_first = go_first()",
    )
    done = run(short + spin)
    assert done.returncode == (-signal.SIGXCPU if done.stdout.startswith("True") else 0)
