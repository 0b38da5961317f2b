# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the decoding of one camera takes, and how much of it is allowed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class DecodeLoad:
    """One camera's decoding, over all its connections.

    The camera's thread writes what it sees, the event loop reads it; `share` goes the other way. Counts only grow.
    """

    frames: int = 0  # that arrived
    keyframes: int = 0  # of them
    times_late: int = 0  # how often the camera fell too late, after it had not been
    decoded: int = 0  # frames that went into the decoder
    decode_s: float = 0.0  # what that took
    behind_s: float = 0.0  # how late the newest frame came
    most_behind_s: float = 0.0  # how late any came
    seen_s: float = float("-inf")  # when it came
    share: float = 1.0  # of the frames that may be decoded

    def saw(self, arrived_s: float, behind_s: float, *, keyframe: bool) -> None:
        """Count a frame that arrived."""
        self.frames += 1
        self.keyframes += keyframe
        self.behind_s = behind_s
        self.most_behind_s = max(self.most_behind_s, behind_s)
        self.seen_s = arrived_s

    def took(self, seconds: float) -> None:
        """Count a frame that was decoded."""
        self.decoded += 1
        self.decode_s += seconds
