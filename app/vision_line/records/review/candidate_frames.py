# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is kept of each candidate until it is an event or a near miss: its frame, and with which probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vision_line.inspection.tracking.candidates import Candidate
from vision_line.records.review.draw import is_drawn, near_miss_name
from vision_line.records.review.held_frames import HeldFrame

#: Why a near miss has no image.
NOT_DRAWN = "not drawn"
TOO_MANY = "too many frames were held at once"
NOT_KNOWN = "near misses were not recorded when it was first seen"


@dataclass(slots=True)
class KeptCandidate:
    """A candidate's best frame, None where there is none, and `missing` why."""

    probability: float
    held: HeldFrame | None = None
    missing: str = NOT_DRAWN


class CandidateFrames:
    """The candidates of all cameras; used by the scheduler's thread."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._kept: dict[str, KeptCandidate] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def seen(self, candidate: Candidate, share: float, hold: Callable[[], HeldFrame | None]) -> None:
        """Take a candidate's new best frame, which `hold` returns; that is asked only for one whose image is drawn.

        The probability is that of its first observation, whatever `share` is later.
        """
        kept = self._kept.get(candidate.near_miss_id)
        if kept is None:
            kept = self._kept[candidate.near_miss_id] = KeptCandidate(share)
        if is_drawn(near_miss_name(self._run_id, candidate.camera, candidate.near_miss_id), kept.probability):
            kept.held = None  # first: its room may be what the better one needs
            kept.held = hold()
            kept.missing = TOO_MANY

    def take(self, candidate: Candidate) -> KeptCandidate:
        """Let go of a candidate that is an event or a near miss now."""
        return self._kept.pop(candidate.near_miss_id, None) or KeptCandidate(0.0, missing=NOT_KNOWN)
