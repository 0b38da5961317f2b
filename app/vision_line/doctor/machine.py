# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks of the machine: Python, processor, memory, disk, limits, terminal."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vision_line.cores import CGROUP, cgroup_cores, usable_cores
from vision_line.devices.proof.processor import INSTRUCTION_SETS, parse_cpuinfo
from vision_line.doctor.finding import Finding, Level

_FSYNC_SLOW_MS = 50.0
_FREE_LOW_MB = 2000
_FILES_NEEDED = 1024
#: What version 1 of control groups has for "no limit" is the largest number of bytes in whole pages.
_UNLIMITED = 1 << 62


def find_python() -> Iterator[Finding]:
    """Check the interpreter."""
    what = f"Python {platform.python_version()} ({sys.executable})"
    if sys.version_info >= (3, 14):
        yield Finding("python", Level.WARN, what, "not tested; 3.11 to 3.13 are")
    else:
        yield Finding("python", Level.OK, what)


def find_processor() -> Iterator[Finding]:
    """Check the processor's name, features and cores."""
    name, flags = parse_cpuinfo(_text(Path("/proc/cpuinfo")))
    yield Finding("cpu", Level.OK, f"{name or platform.processor() or 'unknown'}, {platform.machine()}")
    yield check_features(flags, platform.machine())
    limit, usable, present = cgroup_cores(), usable_cores(), os.cpu_count() or 1
    what = f"{usable} of {present} cores usable"
    if limit is not None and limit < present:
        what += f" (control group: {limit:.1f})"
    if usable < 2:
        meaning = "decoding and inference share one core: a few cameras"
        yield Finding("cores", Level.WARN, what, meaning, "give the machine or the container more cores")
    else:
        yield Finding("cores", Level.OK, what, "decoding 16 cameras of 640x360 at 25 fps takes a third of one")


def check_features(flags: frozenset[str], machine: str) -> Finding:
    """Return what the processor's vector features mean for an INT8 model on the CPU device. Pure."""
    found = ", ".join(label for flag, label in reversed(INSTRUCTION_SETS.items()) if flag in flags)
    found = found or "none of the known features"
    if "amx_int8" in flags:
        return Finding("int8", Level.OK, found, "INT8 runs on matrix units: the fastest the CPU device can be")
    if flags & {"avx512_vnni", "avx_vnni", "asimddp"}:
        return Finding("int8", Level.OK, found, "INT8 dot products in hardware: INT8 is much faster than float")
    if "avx2" in flags:
        return Finding("int8", Level.OK, found, "no dot products: INT8 in the unsigned variant, about 1.5 times float")
    if machine not in ("x86_64", "AMD64"):
        return Finding("int8", Level.WARN, found, "OpenVINO runs here; INT8 may be no faster than float")
    return Finding(
        "int8", Level.WARN, found, "without AVX2 expect a few frames a second", "use a processor from 2015 on"
    )


def find_memory(machine: Path = Path("/proc/meminfo"), group: Path = CGROUP) -> Iterator[Finding]:
    """Check the memory that this process can have: what is left of the machine's, or of its control group's."""
    fields = dict(line.split(":", 1) for line in _text(machine).splitlines() if ":" in line)
    if "MemAvailable" not in fields:
        yield Finding("memory", Level.WARN, "unknown: no /proc/meminfo")
        return
    available_mb = int(fields["MemAvailable"].split()[0]) // 1024
    what = f"{available_mb} MB available of {int(fields['MemTotal'].split()[0]) // 1024} MB"
    remedy = "end other programs, or add memory"
    limit = group_memory(group)
    if limit is not None and limit.left // 2**20 < available_mb:
        available_mb = max(0, limit.left // 2**20)
        what = f"{available_mb} MB available of the control group's {limit.limit // 2**20} MB"
        remedy = "give the container or the service more memory"
    if available_mb < 1000:
        yield Finding("memory", Level.WARN, what, "16 cameras take about 700 MB", remedy)
    else:
        yield Finding("memory", Level.OK, what)


class GroupMemory(NamedTuple):
    """What a control group may have and what is left of it, bytes."""

    limit: int
    left: int


def group_memory(group: Path) -> GroupMemory | None:
    """Return the memory of the control group at `group`, of version 2 or 1; None without a limit or control groups.

    Pages of files that nobody has used lately count as left: the kernel takes them back before it ends a process.
    """
    old = group / "memory"
    for limit_file, used_file, stat, idle in (
        (group / "memory.max", group / "memory.current", group / "memory.stat", "inactive_file"),
        (old / "memory.limit_in_bytes", old / "memory.usage_in_bytes", old / "memory.stat", "total_inactive_file"),
    ):
        limit, used = _text(limit_file).strip(), _text(used_file).strip()
        if limit.isdecimal() and used.isdecimal() and int(limit) < _UNLIMITED:
            idle_bytes = [
                int(value)
                for name, _, value in (line.partition(" ") for line in _text(stat).splitlines())
                if name == idle
            ]
            return GroupMemory(int(limit), int(limit) - int(used) + sum(idle_bytes))
    return None


def find_disk(directory: Path) -> Iterator[Finding]:
    """Check the directory of the records: free space, and the time of a commit."""
    place = next(path for path in (directory, *directory.absolute().parents) if path.is_dir())
    free_mb = shutil.disk_usage(place).free // 2**20
    what = f"{free_mb} MB free in {place}"
    if free_mb < _FREE_LOW_MB:
        meaning = "inspection stops when the records' disk is full"
        yield Finding("disk", Level.WARN, what, meaning, "free some space, or --record elsewhere")
    else:
        yield Finding("disk", Level.OK, what)
    try:
        sync_ms = fsync_ms(place)
    except OSError as exc:
        reason = f"cannot be written: {exc.strerror or exc}"
        yield Finding("disk", Level.FAIL, f"{place} {reason}", "nothing can be recorded there", "--record elsewhere")
        return
    slow = sync_ms > _FSYNC_SLOW_MS
    meaning = "records reach the disk late (network or SD storage?)" if slow else "records are durable within 300 ms"
    remedy = "put the records on a local SSD" if slow else ""
    yield Finding("disk", Level.WARN if slow else Level.OK, f"fsync takes {sync_ms:.1f} ms", meaning, remedy)


def fsync_ms(directory: Path, times: int = 5) -> float:
    """Return the median time of writing and syncing 4 KiB in `directory`, milliseconds; the file is removed.

    Raises:
        OSError: the directory cannot be written.
    """
    probe = directory / f".vision-line-doctor.{os.getpid()}"
    spent: list[float] = []
    try:
        with probe.open("wb", buffering=0) as file:
            for _ in range(times):
                started_s = time.perf_counter()
                file.write(bytes(4096))
                os.fsync(file.fileno())
                spent.append((time.perf_counter() - started_s) * 1000)
    finally:
        probe.unlink(missing_ok=True)
    return sorted(spent)[times // 2]


def find_limits() -> Iterator[Finding]:
    """Check the limit on open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    what = f"{_limit(soft)} open files allowed (at most {_limit(hard)})"
    if soft != resource.RLIM_INFINITY and soft < _FILES_NEEDED:
        meaning = f"64 cameras need up to {_FILES_NEEDED}"
        yield Finding("limits", Level.WARN, what, meaning, f"ulimit -n {_FILES_NEEDED}")
    else:
        yield Finding("limits", Level.OK, what)


def _limit(value: int) -> str:
    return "any number of" if value == resource.RLIM_INFINITY else str(value)


def find_terminal() -> Iterator[Finding]:
    """Check the terminal of the dashboard."""
    if not sys.stdout.isatty():
        yield Finding(
            "terminal", Level.OK, "the output is not a terminal", "a status line per second is written instead"
        )
        return
    columns, lines = shutil.get_terminal_size()
    what = f"{columns}x{lines}, TERM={os.environ.get('TERM', 'unset')}, {sys.stdout.encoding}"
    if columns < 80 or lines < 24:
        yield Finding("terminal", Level.WARN, what, "the dashboard needs 80x24 or more", "enlarge the window")
    elif sys.stdout.encoding.lower().replace("-", "") != "utf8":
        yield Finding("terminal", Level.WARN, what, "marks will not be displayed correctly", "export LANG=C.UTF-8")
    else:
        yield Finding("terminal", Level.OK, what)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
