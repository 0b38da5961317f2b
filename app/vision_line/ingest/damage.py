# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counts what damage took from a file: a file that lost frames ends with an error."""

from __future__ import annotations

from vision_line.ingest.source import EncodedFrame


class Damage:
    """Counts the frames of one file that were lost to damage. Pure.

    Those before the first keyframe are no damage: a recording may be a piece of a longer one, and they refer to
    frames outside it.
    """

    def __init__(self) -> None:
        self.unfounded = 0  # before the first keyframe
        self._frames = 0
        self._lost = 0
        self._has_key = False
        self._newest_s: float | None = None
        self._first_s: float | None = None  # when the first one that was lost would have been shown
        self._last_lost = 0  # its place among the frames

    def saw(self, frame: EncodedFrame) -> None:
        """Count the next frame of the file."""
        self._frames += frame.counts
        self._has_key = self._has_key or frame.keyframe
        self._newest_s = frame.media_s if frame.counts else self._newest_s

    def lost(self) -> None:
        """Count a frame, the newest one or one before it, that is damaged or refers to a damaged one."""
        if not self._has_key:
            self.unfounded += 1
            return
        if not self._lost:
            self._first_s = self._newest_s
        self._lost += 1
        self._last_lost = self._frames

    def describe(self) -> str:
        """Return what was lost; "" where nothing was."""
        if self.unfounded and not self._has_key:
            return f"none of its {self.unfounded} frames is a keyframe, at which decoding can begin"
        if not self._lost:
            return ""
        since = "" if self._first_s is None else f", the first at {self._first_s:.2f} s"
        last = "; its last frame is, so it may have been cut off" if self._last_lost == self._frames else ""
        return f"{self._lost} of {self._frames} frames are damaged or refer to damaged ones{since}{last}"
