# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether the machine was ours: how much of its processors went to programs that are not the bench's.

What the bench promises in seconds holds on a machine that is slow, but not on one whose processors others use. Linux's
own accounts tell the two apart: what all cores did, less what this process and all its descendants did.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
#: From this share of the cores on, what is measured in seconds says as much of the other programs as of ours.
BUSY_SHARE = 0.2
#: Fields of /proc/stat that are work: user, nice, system, interrupts, soft interrupts, and what a hypervisor took.
_WORK = (0, 1, 2, 5, 6, 7)


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor seconds since the machine started, on the cores that this process may use, and of them ours."""

    at_s: float
    cores: int
    all_s: float
    own_s: float


def usage() -> Usage:
    """Read the accounts now."""
    cores = os.sched_getaffinity(0)
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    fields = {line.split()[0]: line.split()[1:] for line in lines}
    ticks = sum(int(fields[f"cpu{core}"][at]) for core in cores for at in _WORK)
    return Usage(time.monotonic(), len(cores), ticks / TICKS, sum(os.times()[:4]) + _descendants_s())


def foreign_share(before: Usage, after: Usage) -> float:
    """Return which share of the cores went to others between two moments, 0 to 1. Pure."""
    wall_s = (after.at_s - before.at_s) * after.cores
    foreign_s = (after.all_s - before.all_s) - (after.own_s - before.own_s)
    return min(1.0, max(0.0, foreign_s / wall_s)) if wall_s > 0 else 0.0


def used_s(root: int, processes: Mapping[int, tuple[int, float]]) -> float:
    """Return what all descendants of `root` used; `processes`: by id, (parent, seconds of it and its dead). Pure."""
    children = defaultdict(list)
    for process, (parent, _) in processes.items():
        children[parent].append(process)
    waiting, total_s = list(children[root]), 0.0
    while waiting:
        process = waiting.pop()
        total_s += processes[process][1]
        waiting += children[process]
    return total_s


def _descendants_s() -> float:
    return used_s(os.getpid(), dict(filter(None, map(_process, Path("/proc").glob("[0-9]*/stat")))))


def _process(stat: Path) -> tuple[int, tuple[int, float]] | None:
    try:
        text = stat.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it ended a moment ago, and is in its parent's account
        return None
    fields = text.rsplit(")", 1)[1].split()
    return int(stat.parent.name), (int(fields[1]), sum(map(int, fields[11:15])) / TICKS)
