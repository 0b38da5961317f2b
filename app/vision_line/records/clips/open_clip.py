# SPDX-License-Identifier: AGPL-3.0-or-later
"""A clip under way: takes frames from its camera's ring as they come, and leaves a file, or several."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path

from vision_line.records.clip_rows import GOES_ON, clip_name
from vision_line.records.clips.muxer import MUX_ERRORS, ClipFile, open_clip_file
from vision_line.records.clips.plan import ClipPlan
from vision_line.records.clips.ring import Ring, RingFrame

logger = logging.getLogger(__name__)

#: A clip that begins or ends by less beside what was asked for is not said to.
TOLERANCE_S = 0.5


def discard(path: Path) -> None:
    """Remove a file that has no name of its own; where the disk refuses that too, the next start does."""
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        logger.warning("%s: is left until the next start: %s", path, exc.strerror)


@dataclass(frozen=True, slots=True)
class Footage:
    """A whole file that has no name of its own yet, and what is in it; `number` counts those of its clip from 1."""

    plan: ClipPlan
    number: int
    path: Path
    first: RingFrame
    last: RingFrame
    codec: str
    frames: int
    reencoded: bool
    note: str

    @property
    def clip_id(self) -> str:
        """What names it within its run."""
        return clip_name(self.plan.clip_id, self.number)


class OpenClip:
    """Used by one thread, and to be finished. `partial` names the file that is written meanwhile."""

    def __init__(self, plan: ClipPlan, ring: Ring, partial: Callable[[], Path]) -> None:
        """Begin with the keyframe before the clip's beginning, as far as the ring still has it."""
        self.plan = plan
        self._ring = ring
        self._partial = partial
        self._read = ring.beginning(plan.begins_s)
        self._written = self._read
        self._file: ClipFile | None = None
        self._parts = 0
        self._holes = 0
        self._newest_s = -inf
        #: Whether frames wait that the last call had no time for.
        self.has_more = False

    def is_over(self, ends_s: float, now_s: float) -> bool:
        """Whether what comes now is behind its end; a camera that sends nothing is not waited for."""
        return self._newest_s >= ends_s or (now_s >= ends_s + TOLERANCE_S and not self.has_more)

    def feed(self, ends_s: float, until_s: float = inf) -> Iterator[Footage]:
        """Write what came since; yield a file that has to end because the next frame does not fit into it.

        At `until_s` (monotonic) the rest is left to the next call.

        Raises:
            *MUX_ERRORS: it cannot be written.
        """
        self.has_more = False
        for frame in self._ring.since(self._read):
            self._read, self._newest_s = frame.number, frame.arrived_s
            if frame.arrived_s > ends_s:
                return
            if self._file is not None and not self._file.continues(frame):
                lost = frame.header is not self._file.header
                reason = "the connection was lost" if lost else "the video's parameters changed"
                yield self._end(f"ends where {reason}, and {GOES_ON}")
            if self._file is None:
                if not frame.keyframe:  # the parameters changed without one
                    continue
                self._file = self._begin(frame)
            else:
                self._holes += frame.number - self._written - 1
            self._file.add(frame)
            self._written = frame.number
            self.has_more = time.monotonic() > until_s
            if self.has_more:
                return

    def _begin(self, frame: RingFrame) -> ClipFile:
        path = self._partial()
        try:
            return open_clip_file(path, frame)
        except BaseException:
            discard(path)
            raise

    def finish(self, ends_s: float, why: str = "") -> Footage | None:
        """End the file, `why` where that is before its time; None: there was no frame that it could begin with.

        Raises:
            *MUX_ERRORS: it cannot be written.
        """
        if self._file is None:
            return None
        early_s = ends_s - max(self._newest_s, self._file.last.arrived_s)
        if not why and early_s > TOLERANCE_S:
            why = f"ends {early_s:.1f} s early: the camera sent nothing more that could be kept"
        return self._end(why)

    @property
    def clip_id(self) -> str:
        """What names the file that is under way, or comes next."""
        return clip_name(self.plan.clip_id, self._parts + 1)

    @property
    def has_footage(self) -> bool:
        """Whether a file was begun."""
        return self._parts > 0 or self._file is not None

    def abandon(self) -> None:
        """Leave what was begun: it cannot be written."""
        file, self._file = self._file, None
        if file is None:
            return
        with suppress(*MUX_ERRORS):  # that it cannot be written is known, and why
            file.close()
        discard(file.path)

    def _end(self, why: str) -> Footage:
        file = self._file
        if file is None:
            raise ValueError("found no file that could end")
        file.close()
        self._file = None
        self._parts += 1
        self._holes += file.undecodable
        notes = [*self._beginning_notes(file), *self._hole_notes(), *file.notes(), why]
        self._holes = 0
        return Footage(
            *(self.plan, self._parts, file.path, file.first, file.last, file.codec, file.frames, file.is_reencoded),
            note="; ".join(filter(None, notes)),
        )

    def _beginning_notes(self, file: ClipFile) -> Iterator[str]:
        late_s = file.first.arrived_s - self.plan.begins_s
        if self._parts > 1:
            yield "goes on from another clip"
        elif late_s > TOLERANCE_S:
            yield f"begins {late_s:.1f} s late: no keyframe from before was kept"

    def _hole_notes(self) -> Iterator[str]:
        if self._holes:
            yield f"{self._holes} frames are missing in it: they were damaged, lost, or refer to such"
