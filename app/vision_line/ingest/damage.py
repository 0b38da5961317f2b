# SPDX-License-Identifier: AGPL-3.0-or-later
"""What of a file could not be shown because of damage: a file whose pictures were lost has not ended well."""

from __future__ import annotations

from vision_line.ingest.source import EncodedFrame


class Damage:
    """Counts the pictures of one file that were lost to damage. Pure.

    Those before the first keyframe are no damage: a recording may be a piece of a longer one, and they refer to
    pictures outside it.
    """

    def __init__(self) -> None:
        """Begin before the first picture."""
        self.unfounded = 0  # before the first keyframe
        self._pictures = 0
        self._lost = 0
        self._has_key = False
        self._newest_s: float | None = None
        self._first_s: float | None = None  # when the first one that was lost would have been shown
        self._last_lost = 0  # its place among the pictures

    def saw(self, picture: EncodedFrame) -> None:
        """Take in the next picture of the file."""
        self._pictures += picture.counts
        self._has_key = self._has_key or picture.keyframe
        self._newest_s = picture.media_s if picture.counts else self._newest_s

    def lost(self) -> None:
        """Count a picture, the newest one or one before it, that is damaged or refers to a damaged one."""
        if not self._has_key:
            self.unfounded += 1
            return
        if not self._lost:
            self._first_s = self._newest_s
        self._lost += 1
        self._last_lost = self._pictures

    def describe(self) -> str:
        """Return what was lost; "" where nothing was."""
        if self.unfounded and not self._has_key:
            return f"none of its {self.unfounded} pictures is a keyframe, at which decoding can begin"
        if not self._lost:
            return ""
        since = "" if self._first_s is None else f", the first at {self._first_s:.2f} s"
        last = "; its last picture is, so it may have been cut off" if self._last_lost == self._pictures else ""
        return f"{self._lost} of {self._pictures} pictures are damaged or refer to damaged ones{since}{last}"
