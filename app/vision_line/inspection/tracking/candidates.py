# SPDX-License-Identifier: AGPL-3.0-or-later
"""Candidates: tracks that are no event yet, and those that end without having become one: near misses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vision_line.frames import Observation


class CandidatePhase(StrEnum):
    """What became of a candidate: SEEN any number of times, then CONFIRMED or MISSED once."""

    SEEN = "seen"  # its best observation so far is of this frame
    CONFIRMED = "confirmed"  # it is an event now
    MISSED = "missed"  # it ended with fewer than `min_hits` hits: a near miss


@dataclass(frozen=True, slots=True)
class Candidate:
    """A track that has fewer than `min_hits` hits, as known now.

    `best` is its best observation, in a frame of `size_wh`: the first one until a markedly better one comes, as with
    events. The class is that observation's. `near_miss_id` is unique within the run.
    """

    near_miss_id: str
    phase: CandidatePhase
    camera: str
    class_name: str
    best: Observation
    hits: int
    size_wh: tuple[int, int]
    first_seen_s: float
    first_seen_utc: float
    last_seen_s: float
    last_seen_utc: float
