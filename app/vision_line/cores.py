# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cores this process may use."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

#: What a container sees as its own control group: `cpu.max` of version 2, or `cpu/` of version 1.
CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return how many cores this process can keep busy: its CPU affinity, or less where a cgroup limits it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cgroup_cores()
    return cores if limit is None else max(1, min(cores, ceil(limit)))


def cgroup_cores() -> float | None:
    """Return the CPU limit of this process's control group in cores; None without a limit or control groups."""
    version_2, version_1 = CGROUP / "cpu.max", CGROUP / "cpu" / "cpu.cfs_quota_us"
    try:
        if version_2.exists():
            return quota_cores(*version_2.read_text().split()[:2])
        if version_1.exists():
            return quota_cores(version_1.read_text(), version_1.with_name("cpu.cfs_period_us").read_text())
    except OSError:
        return None
    return None


def quota_cores(quota: str, period: str) -> float | None:
    """Return quota / period in cores; None for "max" and -1, which mean no limit."""
    return None if quota.strip() in ("max", "-1") else int(quota) / int(period)
