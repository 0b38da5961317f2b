# SPDX-License-Identifier: AGPL-3.0-or-later
"""Draws that anybody can repeat: which inspected frames are audited, and which near misses keep their image. Pure.

A draw is a number in 0..2^64 made of names alone: the first 8 bytes of the SHA-256 of `audit/RUN_ID/CAMERA/SEQUENCE`
or `near_miss/RUN_ID/CAMERA/NEAR_MISS_ID`. What has a draw below `probability * 2^64` is taken. So nothing that a frame
shows can change whether it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from math import inf

#: Until a camera's rate is known it is taken for this, in inspections a second.
ASSUMED_RATE = 30.0
#: How long inspections are counted before the probability is fixed anew; the first time sooner.
WINDOW_S = 60.0
FIRST_WINDOW_S = 10.0
#: A probability stays while the rate is within this factor of the one that it was fixed for.
RATE_STEP = 1.25
#: A longer gap between two inspections counts as this: a camera that was away has not become slow.
LONGEST_GAP_S = 60.0

#: Above every digest.
_CERTAIN = b"\xff" * 33


def audit_name(run_id: str, camera: str, sequence: int) -> str:
    """Return what an inspected frame's draw is made of."""
    return f"audit/{run_id}/{camera}/{sequence}"


def near_miss_name(run_id: str, camera: str, near_miss_id: str) -> str:
    """Return what a near miss's draw is made of."""
    return f"near_miss/{run_id}/{camera}/{near_miss_id}"


def is_drawn(name: str, probability: float) -> bool:
    """Whether what has this name is taken with this probability."""
    return sha256(name.encode()).digest() < _bound(probability)


def _bound(probability: float) -> bytes:
    """Return what a digest must be below; as bytes it is compared at no cost."""
    return _CERTAIN if probability >= 1 else int(probability * 2**64).to_bytes(8)


@dataclass(frozen=True, slots=True)
class AuditRate:
    """With which probability a camera's frames from `since_sequence` on are drawn, and what it was made of."""

    probability: float
    per_hour: float
    inspected_per_s: float
    since_sequence: int


class AuditDraw:
    """Draws one camera's inspected frames, `per_hour` of them on average; used by one thread.

    The probability is fixed ahead by how many frames were inspected before, and by nothing else: at the first frame
    after a window of `WINDOW_S`, where the rate has changed by more than `RATE_STEP`. A frame's own draw is
    independent of all others.
    """

    def __init__(self, run_id: str, camera: str) -> None:
        """Draw nothing until `fix` was called."""
        self._prefix = audit_name(run_id, camera, 0)[:-1].encode()
        self._inspected_per_s = ASSUMED_RATE
        self._began_s = self._last_s = 0.0
        self._count = 0
        self._bound = _bound(0.0)
        self.due_s = -inf  # when `fix` is to be called again, before the frame is drawn
        self.rate = AuditRate(0.0, 0.0, ASSUMED_RATE, 0)

    def fix(self, per_hour: float, sequence: int, at_s: float) -> AuditRate | None:
        """Fix the probability from the frame `sequence` on, which arrived at `at_s` (monotonic); return a new one."""
        if at_s >= self.due_s:
            self._measure(at_s)
        probability = min(1.0, per_hour / 3600 / self._inspected_per_s)
        if (self.rate.probability, self.rate.per_hour) == (probability, per_hour):
            return None
        self._bound = _bound(probability)
        self.rate = AuditRate(probability, per_hour, self._inspected_per_s, sequence)
        return self.rate

    def _measure(self, at_s: float) -> None:
        """Take account of the window that has ended, and begin another."""
        elapsed_s = self._last_s - self._began_s + min(at_s - self._last_s, LONGEST_GAP_S)
        if self._count and elapsed_s > 0:
            measured = self._count / elapsed_s
            if not self._inspected_per_s / RATE_STEP <= measured <= self._inspected_per_s * RATE_STEP:
                self._inspected_per_s = measured
        self.due_s = at_s + (WINDOW_S if self._count else FIRST_WINDOW_S)
        self._began_s, self._count = at_s, 0

    def takes(self, sequence: int, at_s: float) -> bool:
        """Whether the frame `sequence` that arrived at `at_s` is drawn; called once for each inspected frame."""
        self._count += 1
        self._last_s = at_s
        return sha256(b"%b%d" % (self._prefix, sequence)).digest() < self._bound
