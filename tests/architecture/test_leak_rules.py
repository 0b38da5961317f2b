# SPDX-License-Identifier: AGPL-3.0-or-later
"""The rules for every test work themselves: a thread or a task that is left is found, what ends in time is not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RULES = Path(__file__).parents[1] / "conftest.py"

MADE = """
import asyncio
from concurrent.futures import ThreadPoolExecutor

kept = []

def test_pool():
    kept.append(ThreadPoolExecutor(1))
    kept[-1].submit(int)

def test_executor_of_a_loop():
    kept.append(asyncio.new_event_loop())
    kept[-1].run_until_complete(kept[-1].run_in_executor(None, int))

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(60)))

async def test_clean():
    await asyncio.to_thread(int)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int)
"""


def test_what_is_left_is_found(tmp_path: Path) -> None:
    """Pools and the executors of event loops are no exception; a test that leaves nothing passes."""
    (tmp_path / "conftest.py").write_text(RULES.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "test_made.py").write_text(MADE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", tmp_path],
        cwd=tmp_path,
        text=True,
        capture_output=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR test_made.py::")]

    assert [line.split("::")[1].split(" - ")[0] for line in errors] == [
        "test_pool",
        "test_executor_of_a_loop",
        "test_task",
    ]
    assert "threads left running: ['ThreadPoolExecutor-0_0']" in done.stdout
    assert "threads left running: ['asyncio_0']" in done.stdout
    assert "4 passed, 3 errors" in done.stdout
