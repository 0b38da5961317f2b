# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a process holds over time: memory by its parts, threads, open files, and the write-ahead log on the disk."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rounds import percentile

EVERY_S = 2.0

#: The start allocates; what grows is compared with this minute, the second.
SETTLED_S = 60.0
SPAN_S = 60.0

_MIB = 1 << 20
_STATUS = re.compile(r"^(VmRSS|RssAnon|RssFile|Threads):\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """One look, `at_s` after the first could be; `parts` are those of `read_sample`."""

    at_s: float
    parts: Mapping[str, float]


def read_sample(pid: int, at_s: float, wal: Path) -> Sample | None:
    """Return what process `pid` holds now, `wal` being its write-ahead log; None when it has ended.

    The parts: `rss_mib`, which is `anonymous_mib` (heaps, stacks) and `file_mib` (libraries) together, `wal_mib`,
    `threads`, and `files` that are open.
    """
    try:
        status = dict(_STATUS.findall(Path(f"/proc/{pid}/status").read_text(encoding="utf-8")))
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return None
    if "VmRSS" not in status:  # it has ended, and waits to be noticed
        return None
    parts = {
        "rss_mib": int(status["VmRSS"]) / 1024,
        "anonymous_mib": int(status["RssAnon"]) / 1024,
        "file_mib": int(status["RssFile"]) / 1024,
        "wal_mib": wal.stat().st_size / _MIB if wal.exists() else 0.0,
        "threads": int(status["Threads"]),
        "files": files,
    }
    return Sample(at_s, parts)


@contextmanager
def sampled(pid: int, wal: Path) -> Iterator[list[Sample]]:
    """Look at process `pid` every `EVERY_S` until the end of the block; the list fills meanwhile."""
    samples: list[Sample] = []
    over = threading.Event()
    started_s = time.monotonic()

    def look() -> None:
        while not over.wait(EVERY_S):
            sample = read_sample(pid, time.monotonic() - started_s, wal)
            if sample is None:
                return
            samples.append(sample)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        over.set()
        thread.join(5)


@dataclass(frozen=True, slots=True)
class Growth:
    """Medians of the minute after the start and of the last one."""

    early: float
    late: float

    @property
    def percent(self) -> float:
        """How much more it is, of what it was; not a number where there was nothing."""
        return 100 * (self.late / self.early - 1) if self.early else float("nan")

    def __str__(self) -> str:
        """Show both, and by how much they differ."""
        return f"{self.early:.1f} -> {self.late:.1f} ({self.late - self.early:+.1f})"


def growth_by_part(samples: Sequence[Sample]) -> dict[str, Growth]:
    """Return how each part grew from the second minute to the last; {} for a run without a second minute."""
    early = [sample for sample in samples if SETTLED_S <= sample.at_s < SETTLED_S + SPAN_S]
    if not early:
        return {}
    late = [sample for sample in samples if sample.at_s >= samples[-1].at_s - SPAN_S]
    return {part: Growth(_median(early, part), _median(late, part)) for part in early[0].parts}


def _median(samples: Sequence[Sample], part: str) -> float:
    return percentile([sample.parts[part] for sample in samples], 0.5)
