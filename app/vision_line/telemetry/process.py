# SPDX-License-Identifier: AGPL-3.0-or-later
"""What this process has used: CPU seconds and memory."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


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
