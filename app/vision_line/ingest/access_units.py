# SPDX-License-Identifier: AGPL-3.0-or-later
"""Joins the pieces of RTP payload into whole frames, without waiting for the next frame, and never over a gap.

The last RTP packet of a frame has the marker bit. Whether a camera sets it rightly is watched, not assumed: frames
are handed out at their marker only after `PROOF` frames in a row had it at their end, and one frame handed out too
early makes the proof needed `MISTRUST` times as long. Until then, and where markers are missing, a frame is handed
out when the next one begins. A wrong early end is never silent: an empty unit marked `damaged` follows it.

Where packets are lost, nobody knows whether they were a part of a frame or frames as a whole. So a frame without
its marker is damaged then, and so is every frame after the gap up to one at which decoding may start: its unit says
so, or the session drops it because it waits for such a frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from vision_line.ingest.nal import START_CODE, NalCodec, NalRole, nal_headers

PROOF = 8
MISTRUST = 8
MAX_BYTES = 32 << 20
PIECE_BYTES = 64  # what keeping a piece takes beside its own bytes

_SLICES = frozenset({NalRole.SLICE, NalRole.KEY_SLICE})
_KEYS = frozenset({NalRole.KEY_SLICE, NalRole.KEY_PREFIX})


class OversizedFrameError(ValueError):
    """A frame never ends: the timestamps do not advance."""


class AccessUnit(NamedTuple):
    """All NAL units of one frame in Annex B form.

    `damaged`: it cannot be decoded rightly; with empty `data` it says so of the unit before, which was cut short.
    """

    data: bytes
    pts: int | None
    keyframe: bool
    damaged: bool
    early: bool  # handed out before the next frame began


@dataclass(slots=True)
class _Assembly:
    """The frame whose pieces are arriving."""

    pts: int | None
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    keyframe: bool = False
    slices: int = 0
    first_address: int = 0  # where its first slice starts
    begun: bool = False  # a NAL unit began in it
    headless: bool = False  # a fragment came whose NAL unit's beginning did not
    after_gap: bool = False  # something was lost before it
    cut: bool = False  # something was lost while it came
    marked: bool = False  # its marker came
    mistaken: bool = False  # and then a further slice came
    handed_out: bool = False
    last_role: NalRole = NalRole.SUFFIX  # of the NAL unit that began last

    @property
    def damaged(self) -> bool:
        """Whether it cannot be decoded rightly."""
        is_fresh_start = self.keyframe and self.slices > 0 and self.first_address == 0
        return self.headless or self.cut or (self.after_gap and not is_fresh_start)

    @property
    def has_slices(self) -> bool:
        """Whether a frame is in it, not only what belongs to one."""
        return self.slices > 0 or self.headless


class AccessUnits:
    """Assembles one connection's pieces. Used by one thread; holds at most one frame."""

    def __init__(self, codec: NalCodec, max_bytes: int = MAX_BYTES) -> None:
        """Start without any knowledge of how the camera sends; hold at most `max_bytes`."""
        self._codec = codec
        self._max_bytes = max_bytes
        self._needed = PROOF
        self._proved = 0
        self._carried: list[bytes] = []
        self._carried_bytes = 0
        self._carried_key = False
        self._lost = False
        self._now = _Assembly(None)

    def push(self, data: bytes, pts: int | None, *, last: bool = False) -> tuple[AccessUnit, ...]:
        """Take the next piece and return the frames that are now known to be complete, oldest first.

        Args:
            data: the piece; it begins with a start code where a NAL unit begins.
            pts: its frame's time.
            last: the marker: it is the last piece of its frame.

        Raises:
            OversizedFrameError: `max_bytes` came without the end of a frame.
        """
        done: tuple[AccessUnit, ...] = ()
        starts = data.startswith(START_CODE)
        now = self._now
        if pts == now.pts and now.begun and not starts and not now.marked:  # goes on with a NAL unit: nearly all
            self._append(data)
        else:
            if pts != now.pts or (starts and self._begins_frame(data)):
                done = self._end_by_next()
                self._begin(pts)
            if self._now.handed_out:
                self._after_early_end(data, starts)
                return done
            self._add(data, starts)
        if last and self._now.has_slices:
            self._now.marked = True
            if self._proved >= self._needed:
                return (*done, self._end_early())
        return done

    def lose(self) -> None:
        """Note that something is missing between the last piece and the next."""
        self._lost = True
        if not self._now.marked:
            self._now.cut = True

    def flush(self) -> tuple[AccessUnit, ...]:
        """Return what is left when the stream has ended."""
        done = self._end_by_next()
        self._begin(None)
        return done

    def _begin(self, pts: int | None) -> None:
        self._now = _Assembly(pts, self._carried, self._carried_bytes, self._carried_key, after_gap=self._lost)
        self._carried, self._carried_bytes, self._carried_key, self._lost = [], 0, False, False

    def _begins_frame(self, data: bytes) -> bool:
        """Whether a NAL unit starts the next frame though the timestamp is the same.

        A delimiter says so, and behind a marker the first slice of a frame. Parameter sets do not: some senders
        repeat them before every slice.
        """
        if not self._now.slices:
            return False
        first = len(START_CODE)
        role = self._codec.role(data, first)
        if role is NalRole.DELIMITER:
            return not self._now.handed_out
        return self._now.marked and role in _SLICES and self._codec.slice_address(data, first) == 0

    def _add(self, data: bytes, starts: bool) -> None:
        self._append(data)
        now = self._now
        if now.marked and self._holds_slice(data, starts):
            now.mistaken = True
        if starts:
            self._note_units(data)
        else:
            now.headless = now.headless or not now.begun

    def _append(self, data: bytes) -> None:
        now = self._now
        now.parts.append(data)
        now.size += len(data) + PIECE_BYTES
        if now.size > self._max_bytes:
            raise OversizedFrameError(f"{now.size} bytes of one frame")

    def _note_units(self, data: bytes) -> None:
        """Note what the NAL units are that begin in a piece."""
        now = self._now
        now.begun = True
        for at in nal_headers(data):
            now.last_role = self._codec.role(data, at)
            now.keyframe = now.keyframe or now.last_role in _KEYS
            if now.last_role in _SLICES:
                if not now.slices:
                    now.first_address = self._codec.slice_address(data, at)
                now.slices += 1

    def _holds_slice(self, data: bytes, starts: bool) -> bool:
        """Whether a piece is, or goes on with, a slice."""
        if starts:
            roles = [self._codec.role(data, at) for at in nal_headers(data)]
            self._now.last_role = roles[-1]
            return not _SLICES.isdisjoint(roles)
        return self._now.last_role in _SLICES

    def _end_by_next(self) -> tuple[AccessUnit, ...]:
        """Hand out what was held until the next frame began, and learn from it."""
        now = self._now
        if now.handed_out:
            return (AccessUnit(b"", now.pts, keyframe=False, damaged=True, early=False),) if now.mistaken else ()
        if not now.has_slices:
            # Parameter sets with a timestamp of their own belong to the next frame, and so does a gap before them.
            self._lost = self._lost or now.after_gap
            self._carried, self._carried_bytes, self._carried_key = now.parts, now.size, now.keyframe
            return ()
        self._proved = self._proved + 1 if now.marked and not now.mistaken else 0
        return (self._unit(early=False),)

    def _carry(self, data: bytes, *, keyframe: bool) -> None:
        """Keep what belongs to the next frame."""
        self._carried.append(data)
        self._carried_bytes += len(data) + PIECE_BYTES
        if self._carried_bytes > self._max_bytes:
            raise OversizedFrameError(f"{self._carried_bytes} bytes without a frame")
        self._carried_key = self._carried_key or keyframe

    def _end_early(self) -> AccessUnit:
        self._now.handed_out = True
        unit = self._unit(early=True)
        self._now.parts.clear()
        return unit

    def _after_early_end(self, data: bytes, starts: bool) -> None:
        """Take what still comes with the timestamp of a frame that was handed out."""
        if self._holds_slice(data, starts):
            if not self._now.mistaken:
                self._proved = 0
                self._needed *= MISTRUST
            self._now.mistaken = True
        elif self._now.last_role is not NalRole.SUFFIX:
            self._carry(data, keyframe=self._now.last_role is NalRole.KEY_PREFIX)

    def _unit(self, *, early: bool) -> AccessUnit:
        now = self._now
        return AccessUnit(b"".join(now.parts), now.pts, now.keyframe, now.damaged, early)
