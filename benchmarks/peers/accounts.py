# SPDX-License-Identifier: AGPL-3.0-or-later
"""Linux's accounts of a process and all its descendants: CPU time by kind of thread, and peak memory."""

from __future__ import annotations

import os
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
#: Threads that nobody has named: OpenVINO's, and those of other native libraries.
NATIVE = "native"
_KIND = re.compile(r"[A-Za-z-]+")
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")

#: Of every thread, by process and thread: the kind that it is, and the seconds that it has used.
Threads = Mapping[tuple[int, int], tuple[str, float]]


def threads() -> Threads:
    """Return the threads of this process, by the names that Python knows, and of its descendants, by Linux's."""
    names = {thread.native_id: kind_of(thread.name) for thread in threading.enumerate()}
    own = os.getpid()
    used = {}
    for process in _family(own):
        program = _read(Path(f"/proc/{process}/comm")).strip()
        for task, name, seconds in _tasks(process):
            unnamed = NATIVE if name == program else kind_of(name)
            used[process, task] = (names.get(task, unnamed) if process == own else unnamed), seconds
    return used


def cores(before: Threads, after: Threads, span_s: float) -> dict[str, float]:
    """Return how many cores each kind of thread used between two moments. Pure."""
    kinds: dict[str, float] = defaultdict(float)
    for thread, (kind, seconds) in after.items():
        kinds[kind] += (seconds - before.get(thread, (kind, 0.0))[1]) / span_s
    return dict(kinds)


def kind_of(name: str) -> str:
    """Return a thread's kind: its name up to its number or camera. Pure."""
    found = _KIND.match(name)
    return found[0].rstrip("-") if found else name


def peak_mib() -> float:
    """Return the most memory that this process and its descendants have held, MiB: each one's peak, added up."""
    found = (_PEAK.search(_read(Path(f"/proc/{process}/status"))) for process in _family(os.getpid()))
    return sum(int(peak[1]) for peak in found if peak) / 1024


def process_seconds(pid: int) -> float:
    """Return the user and system time that a process has used.

    Raises:
        ProcessLookupError: there is none.
    """
    if not (stat := _read(Path(f"/proc/{pid}/stat"))):
        raise ProcessLookupError(f"process {pid} has ended")
    return _seconds(stat)


def _family(root: int) -> list[int]:
    parents = {int(stat.parent.name): _read(stat) for stat in Path("/proc").glob("[0-9]*/stat")}
    children = defaultdict(list)
    for process, stat in parents.items():
        if stat:
            children[int(_fields(stat)[1])].append(process)
    return list(_below(root, children))


def _below(root: int, children: Mapping[int, Iterable[int]]) -> Iterator[int]:
    yield root
    for child in children.get(root, ()):
        yield from _below(child, children)


def _tasks(process: int) -> Iterator[tuple[int, str, float]]:
    """Yield id, name and used seconds of each thread of a process."""
    for stat in Path(f"/proc/{process}/task").glob("*/stat"):
        if text := _read(stat):
            yield int(stat.parent.name), text[text.index("(") + 1 : text.rindex(")")], _seconds(text)


def _seconds(stat: str) -> float:
    fields = _fields(stat)
    return (int(fields[11]) + int(fields[12])) / TICKS


def _fields(stat: str) -> list[str]:
    """Return the fields after the name, which may hold blanks and brackets."""
    return stat.rsplit(")", 1)[1].split()


def _read(path: Path) -> str:
    """Return a file of /proc, empty where its process or thread ended a moment ago."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
