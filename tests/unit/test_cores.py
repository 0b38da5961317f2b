# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cores of a container are those that its control group allows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vision_line import cores


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder that is taken for the control group."""
    monkeypatch.setattr(cores, "CGROUP", tmp_path)
    return tmp_path


def test_without_a_limit_the_affinity_counts(cgroup: Path) -> None:
    """No control groups, or "max": every core that the process may be on."""
    assert cores.usable_cores() == len(os.sched_getaffinity(0))
    (cgroup / "cpu.max").write_text("max 100000\n", encoding="ascii")
    assert cores.usable_cores() == len(os.sched_getaffinity(0))


def test_a_limit_of_version_2_counts(cgroup: Path) -> None:
    """A share of a core keeps one busy now and then: it counts as one."""
    (cgroup / "cpu.max").write_text("50000 100000\n", encoding="ascii")
    assert (cores.cgroup_cores(), cores.usable_cores()) == (0.5, 1)


def test_a_limit_of_version_1_counts(cgroup: Path) -> None:
    """Quota and period lie in files of their own."""
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text("100000\n", encoding="ascii")
    (cgroup / "cpu" / "cpu.cfs_period_us").write_text("100000\n", encoding="ascii")
    assert (cores.cgroup_cores(), cores.usable_cores()) == (1.0, 1)
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text("-1\n", encoding="ascii")
    assert cores.cgroup_cores() is None
