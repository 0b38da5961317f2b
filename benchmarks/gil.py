# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who holds the GIL: a running Python process is looked at from outside at random moments, by py-spy.

The process is not paused. Pausing it wakes its sleeping threads at each look, which was measured to double the CPU time
of a process with 30 threads. The sampler gets real-time priority where that is allowed. Without it a busy machine runs
the sampler when the process has gone to sleep, and half of the held time was not seen.

A thread that holds the GIL while another program has its core still holds it. So shares mean something on a machine
with a core to spare; beside a busy neighbour they are an upper limit.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

RATE_HZ = 500
_REAL_TIME = ("chrt", "--fifo", "10")
_ERRORS = re.compile(r"Errors: (\d+)")
_THREAD = re.compile(r"thread \(\w+\)(?:: (?P<name>.*))?")

#: What a thread's name begins with, and the kind of thread that it is. Others are of the kind that they are called.
KINDS = {"camera ": "cameras", "MainThread": "event loop", "asyncio_": "event loop", "detection-log": "log writer"}

#: A library's thread that Python learns of when it calls in.
UNNAMED = "unnamed"


class SamplingError(Exception):
    """A process cannot be sampled."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Where a thread was, and in how many samples.

    Frames are "function (file:line)", the outermost first; a thread of a library that calls into Python may have none.
    """

    thread: str
    frames: tuple[str, ...]
    samples: int

    @property
    def kind(self) -> str:
        """The kind of thread."""
        return thread_kind(self.thread)

    @property
    def line(self) -> str:
        """The line that ran."""
        return self.frames[-1] if self.frames else "outside of Python's code"


@dataclass(frozen=True, slots=True)
class Profile:
    """What `taken` samples of a process showed: threads that held the GIL, or those that ran."""

    stacks: tuple[Stack, ...]
    taken: int
    sampler_cores: float = 0.0
    real_time: bool = True

    @property
    def held(self) -> float:
        """The share of time in which any thread held the GIL, 0..1."""
        return sum(stack.samples for stack in self.stacks) / self.taken

    def shares(self, of: Callable[[Stack], str]) -> dict[str, float]:
        """Return the share of time by what `of` says of a stack; the largest first."""
        seen: Counter[str] = Counter()
        for stack in self.stacks:
            seen[of(stack)] += stack.samples
        return {name: samples / self.taken for name, samples in seen.most_common()}

    def by_kind(self) -> dict[str, float]:
        """Return the share of time of each kind of thread."""
        return self.shares(lambda stack: stack.kind)

    def by_line(self) -> dict[str, float]:
        """Return the share of time of each line."""
        return self.shares(lambda stack: stack.line)

    def within(self, kind: str) -> dict[str, float]:
        """Return which share of a kind of thread's samples each function was in, itself or by what it called."""
        seen: Counter[str] = Counter()
        total = 0
        for stack in self.stacks:
            if stack.kind == kind:
                total += stack.samples
                seen.update(dict.fromkeys((frame.partition(":")[0] + ")" for frame in stack.frames), stack.samples))
        return {name: samples / total for name, samples in seen.most_common()}


def thread_kind(name: str) -> str:
    """Return the kind of a thread by its name."""
    return next((kind for start, kind in KINDS.items() if name.startswith(start)), name)


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """Return several profiles of one kind of run as one.

    Raises:
        ValueError: there is none.
    """
    every = list(profiles)
    if not every:
        raise ValueError("found no profile, expected at least one")
    seen: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for profile in every:
        for stack in profile.stacks:
            seen[stack.thread, stack.frames] += stack.samples
    return Profile(
        stacks=tuple(Stack(thread, frames, samples) for (thread, frames), samples in seen.items()),
        taken=sum(profile.taken for profile in every),
        sampler_cores=sum(profile.sampler_cores for profile in every) / len(every),
        real_time=all(profile.real_time for profile in every),
    )


def sample_gil(pid: int, seconds: int, rate_hz: int = RATE_HZ) -> Profile:
    """See who holds the GIL in a process for some seconds; blocks meanwhile. In samples without a stack nobody did.

    Raises:
        SamplingError: py-spy is missing, may not read the process, or the process ended meanwhile.
    """
    return _sample(pid, seconds, rate_hz, "--gil")


def sample_running(pid: int, seconds: int, rate_hz: int = RATE_HZ) -> Profile:
    """See which Python threads of a process run, with the GIL or without it. Raises as `sample_gil` does."""
    return _sample(pid, seconds, rate_hz)


def thread_names(pid: int) -> dict[int, str]:
    """Return the names of a process's Python threads by the system's number of each. Raises as `sample_gil` does."""
    done = subprocess.run(
        [_sampler(), "dump", "--nonblocking", "--json", "--pid", str(pid)], check=False, text=True, capture_output=True
    )
    if done.returncode != 0:
        raise SamplingError(_refusal(pid, done.stderr))
    return {thread["os_thread_id"]: thread["thread_name"] for thread in json.loads(done.stdout)}


def _sample(pid: int, seconds: int, rate_hz: int, *which: str) -> Profile:
    real_time = _is_real_time_allowed()
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name) / "stacks"
        command = (_sampler(), "record", *which, "--nonblocking", "--threads", "--format", "raw", "--output", str(raw))
        timing = ("--pid", str(pid), "--duration", str(seconds), "--rate", str(rate_hz))
        said, cpu_s, took_s = _run((*(_REAL_TIME if real_time else ()), *command, *timing), Path(name) / "said")
        if not raw.exists():
            raise SamplingError(_refusal(pid, said))
        if not _lives(pid):
            raise SamplingError(
                f"process {pid} ended within {took_s:.1f} s of sampling, {seconds} s were to be sampled"
            )
        return Profile(
            stacks=parse_stacks(raw.read_text(encoding="utf-8")),
            taken=seconds * rate_hz - failed_samples(said),
            sampler_cores=cpu_s / took_s,
            real_time=real_time,
        )


def parse_stacks(raw: str) -> tuple[Stack, ...]:
    """Read py-spy's raw format with threads: `thread (ID): NAME;OUTER (FILE:LINE);INNER (FILE:LINE) SAMPLES` a line.

    Raises:
        ValueError: a line is something else.
    """
    return tuple(_parse_stack(line) for line in raw.splitlines() if line)


def _parse_stack(line: str) -> Stack:
    stack, _, samples = line.rpartition(" ")
    thread, *frames = stack.split(";")
    found = _THREAD.fullmatch(thread)
    if found is None:
        raise ValueError(f"expected a stack with its thread, found {line[:200]!r}")
    return Stack(found["name"] or UNNAMED, tuple(frames), int(samples))


def failed_samples(said: str) -> int:
    """Return how many samples could not be read, by py-spy's last words: the process changed under the reader."""
    found = _ERRORS.search(said)
    return int(found[1]) if found else 0


def describe_sampler(profile: Profile) -> str:
    """Say what sampling cost, and how far to trust it."""
    trust = "" if profile.real_time else "; without real-time priority (root has it) shares may be half or double"
    return f"{profile.taken} samples, {profile.sampler_cores:.3f} cores, the process not paused{trust}"


def _sampler() -> str:
    # beside the interpreter first: a virtual environment that is not activated is not on the path
    found = shutil.which("py-spy", path=Path(sys.executable).parent) or shutil.which("py-spy")
    if found is None:
        raise SamplingError("py-spy is not installed: run pip install '.[dev]' in the clone")
    return found


def _is_real_time_allowed() -> bool:
    if shutil.which(_REAL_TIME[0]) is None:
        return False
    return subprocess.run([*_REAL_TIME, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0


def _lives(pid: int) -> bool:
    """Whether a process runs; one that ended may still wait to be asked how."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(") ", 1)[1][0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def _run(command: tuple[str, ...], said: Path) -> tuple[str, float, float]:
    """Run to the end; return what was said, the CPU time that it took, and how long it ran, in seconds."""
    started_s = time.monotonic()
    with said.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # already waited for
    took_s = time.monotonic() - started_s
    return said.read_text(encoding="utf-8"), usage.ru_utime + usage.ru_stime, took_s


def _refusal(pid: int, said: str) -> str:
    if "ermission" in said:
        advice = (
            "be root, or have CAP_SYS_PTRACE; or allow all of a user's processes: sysctl kernel.yama.ptrace_scope=0"
        )
        return f"py-spy may not read the memory of process {pid}: {advice}"
    reason = " ".join(said.partition("Stack backtrace")[0].split())
    return f"py-spy could not sample process {pid}: {reason or 'it said nothing'}"
