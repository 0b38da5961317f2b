# SPDX-License-Identifier: AGPL-3.0-or-later
"""What this process has used and may use: CPU seconds, memory, cores."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from math import ceil
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """User plus system CPU time of all threads, and resident memory in MiB."""

    cpu_seconds: float
    rss_mb: float
    max_rss_mb: float


def read_usage() -> ProcessUsage:
    """Read this process's usage. Some ten microseconds; any thread.

    The peak comes from procfs where there is one: `ru_maxrss` also counts the parent's memory at the time of the fork.
    """
    try:
        now_mb, peak_mb = resident_mb(_STATUS.read_text())
    except OSError:
        now_mb = peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return ProcessUsage(time.process_time(), now_mb, peak_mb)


def resident_mb(status: str) -> tuple[float, float]:
    """Return (resident, peak resident) MiB from the text of `/proc/PID/status`; zeros for lines that are missing."""
    fields = dict(line.split(":", 1) for line in status.splitlines() if line.startswith(("VmRSS:", "VmHWM:")))
    now_mb, peak_mb = (int(fields.get(name, "0 kB").split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now_mb, peak_mb


def usable_cores() -> int:
    """Return how many cores this process can keep busy: its CPU affinity, or less where a cgroup limits it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cgroup_cores()
    return cores if limit is None else max(1, min(cores, ceil(limit)))


def cgroup_cores() -> float | None:
    """Return the CPU limit of this process's control group in cores; None without a limit or control groups."""
    try:
        if _CGROUP_V2.exists():
            return quota_cores(*_CGROUP_V2.read_text().split()[:2])
        if _CGROUP_V1.exists():
            return quota_cores(_CGROUP_V1.read_text(), _CGROUP_V1.with_name("cpu.cfs_period_us").read_text())
    except OSError:
        return None
    return None


def quota_cores(quota: str, period: str) -> float | None:
    """Return quota / period in cores; None for "max" and -1, which mean no limit."""
    return None if quota.strip() in ("max", "-1") else int(quota) / int(period)
