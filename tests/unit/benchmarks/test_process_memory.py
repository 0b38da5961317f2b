# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a long run's growth is made of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.process_memory import Sample, growth_by_part, read_sample


def sample(at_s: float, anonymous_mib: float = 100.0, threads: int = 30) -> Sample:
    parts = {"rss_mib": anonymous_mib + 100, "anonymous_mib": anonymous_mib, "file_mib": 100.0, "threads": threads}
    return Sample(at_s, parts | {"files": 20})


def test_the_growth_is_that_of_the_second_to_the_last_minute() -> None:
    """The start's allocations do not count, and a moment's peak counts for nothing."""
    course = [sample(float(at), anonymous_mib=20.0 if at < 60 else 100.0 + at / 60) for at in range(0, 660, 2)]
    course[-1] = sample(658.0, anonymous_mib=500.0)

    growth = growth_by_part(course)

    assert round(growth["anonymous_mib"].late - growth["anonymous_mib"].early, 1) == 9.0
    assert round(growth["rss_mib"].percent, 2) == 4.45
    assert growth["file_mib"].percent == 0.0


def test_threads_and_files_are_followed_too() -> None:
    """What leaks may be none of the memory that shows."""
    growth = growth_by_part([sample(at, threads=30 + int(at) // 60) for at in (70.0, 300.0, 600.0)])

    assert (growth["threads"].early, growth["threads"].late) == (31, 40)
    assert str(growth["files"]) == "20.0 -> 20.0 (+0.0)"


def test_a_short_run_has_no_growth() -> None:
    """Without a second minute there is nothing to compare."""
    assert growth_by_part([sample(2.0), sample(50.0)]) == {}


def test_a_process_is_read_with_its_parts(tmp_path: Path) -> None:
    """Of this process: the parts are the whole, and the log's size is its file's."""
    wal = tmp_path / "records.sqlite-wal"
    wal.write_bytes(bytes(1 << 20))

    found = read_sample(os.getpid(), 1.0, wal)

    assert found is not None
    parts = found.parts
    assert abs(parts["anonymous_mib"] + parts["file_mib"] - parts["rss_mib"]) < 1
    assert parts["anonymous_mib"] > 1
    assert parts["threads"] >= 1
    assert parts["files"] >= 3
    assert parts["wal_mib"] == 1.0


def test_a_process_that_has_ended_is_not_read(tmp_path: Path) -> None:
    """Neither before nor after somebody has waited for it."""
    process = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert read_sample(process.pid, 0.0, tmp_path / "none") is None
    process.communicate()
    assert read_sample(process.pid, 0.0, tmp_path / "none") is None
