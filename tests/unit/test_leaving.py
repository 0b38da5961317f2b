# SPDX-License-Identifier: AGPL-3.0-or-later
"""A signal ends a program that is still loading, whatever the modules that it loads do with exceptions."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from vision_line.errors import ExitCode

#: Catches all that is raised while it is imported, as some packages do.
SWALLOWS = """import os, signal, time
try:
    os.kill(os.getpid(), {number})
    time.sleep(0.2)
except BaseException:
    pass
"""

PROGRAM = """import signal, sys, time
from vision_line.leaving import interrupted_by_leaving, leave
signal.signal(signal.SIGTERM, leave)
with interrupted_by_leaving():
    import swallows
    print("loaded", flush=True)
    time.sleep({waits_s})
"""


def loaded_and_left(
    folder: Path, number: signal.Signals, before: str = "", waits_s: int = 60
) -> subprocess.CompletedProcess[str]:
    """Run a program that gets the signal `number` while it imports, and then waits."""
    (folder / "swallows.py").write_text(SWALLOWS.format(number=int(number)), encoding="utf-8")
    program = before + PROGRAM.format(waits_s=waits_s)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=30)


def test_sigterm_amid_an_import_ends_the_program_after_it(tmp_path: Path) -> None:
    ended = loaded_and_left(tmp_path, signal.SIGTERM)
    assert (ended.returncode, ended.stdout, ended.stderr) == (ExitCode.INTERRUPTED, "loaded\n", "")


def test_ctrl_c_amid_an_import_interrupts_the_program_after_it(tmp_path: Path) -> None:
    ended = loaded_and_left(tmp_path, signal.SIGINT)
    assert ended.returncode == -signal.SIGINT  # nothing here makes an exit code of KeyboardInterrupt
    assert ended.stdout == "loaded\n"
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")


def test_ctrl_c_stays_ignored_where_it_was(tmp_path: Path) -> None:
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    ended = loaded_and_left(tmp_path, signal.SIGINT, ignored, waits_s=1)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "loaded\n", "")


#: Gets SIGTERM while nobody catches it yet, and then catches it.
SERVING = """import asyncio, signal
from vision_line.leaving import leave, run_with_signals_held
async def serve():
    signal.raise_signal(signal.SIGTERM)
    print("held", flush=True)
    caught = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, caught.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    await caught.wait()
    return "served"
signal.signal(signal.SIGTERM, leave)
print(run_with_signals_held(serve()), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_a_signal_is_held_until_the_event_loop_catches_it() -> None:
    command = [sys.executable, "-c", SERVING]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "held\nserved set()\n", "")
