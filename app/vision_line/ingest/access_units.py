# SPDX-License-Identifier: AGPL-3.0-or-later
"""Joins the pieces of RTP payload into whole frames, without waiting for the next frame, and never over a gap.

The last RTP packet of a frame has the marker bit. Whether a camera sets it rightly is watched, not assumed: frames
are handed out at their marker only after `PROOF` frames in a row had it at their end, and one frame handed out too
early makes the proof needed `MISTRUST` times as long. Until then, and where markers are missing, a frame is handed
out when the next one begins. A wrong early end is never silent: an empty unit marked `damaged` follows it.

Where packets are lost, nobody knows whether they were a part of a frame or frames as a whole. So a frame that was
not handed out is damaged then, also one whose marker came, because a marker that is not proved may stand behind any
slice. And so is every frame after the gap up to one at which decoding may start: its unit says so, or the session
drops it because it waits for such a frame.

An encoder or a relay may leave out the rest of a frame before it numbers its packets. Then the numbers show no gap,
but a NAL unit in fragments has no end, or fragments come that go on with none: that counts as a gap. Some senders
never mark a last fragment, and no decoder minds. So ends are missed only of a camera that has sent a frame in which
each fragmented NAL unit had one; one that never does is decoded as before. What a camera costs that marks some last
fragments and not others is not silent: its frames count as corrupt.
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
    open: bool = False  # the NAL unit that came last may go on with the next piece
    fragmented: int = 0  # NAL units that began without their end
    ended: int = 0  # ends that came in a further piece
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
        self._sets_ends = False  # a frame came in which each fragmented NAL unit had its end
        self._carried: list[bytes] = []
        self._carried_bytes = 0
        self._carried_key = False
        self._lost = False
        self._now = _Assembly(None)

    def push(self, data: bytes, pts: int | None, *, ends: bool, last: bool = False) -> tuple[AccessUnit, ...]:
        """Take the next piece and return the frames that are now known to be complete, oldest first.

        Args:
            data: the piece; it begins with a start code where a NAL unit begins.
            pts: its frame's time.
            ends: a NAL unit ends with it.
            last: the marker: it is the last piece of its frame.

        Raises:
            OversizedFrameError: `max_bytes` came without the end of a frame.
        """
        done: tuple[AccessUnit, ...] = ()
        starts = data.startswith(START_CODE)
        now = self._now
        if now.open and pts == now.pts and not starts and not now.marked:  # goes on with a NAL unit: nearly all
            self._append(data)
            if ends:
                now.ended += 1
                now.open = not self._sets_ends
        else:
            if pts != now.pts or (starts and self._begins_frame(data)):
                done = self._end_by_next()
                self._begin(pts)
            if self._now.handed_out:
                self._after_early_end(data, starts, ends)
                return done
            self._add(data, starts, ends)
        if last and self._now.has_slices:
            self._now.marked = True
            if self._proved >= self._needed:
                return (*done, self._end_early())
        return done

    def lose(self) -> None:
        """Note that something is missing between the last piece and the next."""
        self._lost = True
        self._carried_key = False  # what follows may be of a later frame
        self._now.open = False
        if not self._now.handed_out:
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

    def _add(self, data: bytes, starts: bool, ends: bool) -> None:
        now = self._now
        if self._is_orphan(data, starts, ends) or not (starts or now.begun):
            now.headless = True
        self._append(data)
        if now.marked and self._holds_slice(data, starts):
            now.mistaken = True
        if starts:
            self._note_units(data)

    def _is_orphan(self, data: bytes, starts: bool, ends: bool) -> bool:
        """Follow the fragments of NAL units; return whether a piece goes on with none that has begun."""
        if starts:
            self._miss_end()
        now = self._now
        is_orphan = not (starts or now.open or not data)
        if is_orphan and not self._lost:
            self.lose()
        if starts:
            now.open = not ends
            now.fragmented += not ends
        elif ends:
            now.ended += 1
            now.open = not self._sets_ends
        elif data:
            now.open = True
        return is_orphan

    def _miss_end(self) -> None:
        """Note a gap where a NAL unit is over whose end did not come."""
        if self._now.open and self._sets_ends:
            self.lose()

    def _close(self) -> None:
        """Note that no piece of the frame is to come, and learn how the camera says where NAL units end."""
        self._miss_end()
        now = self._now
        if not self._sets_ends and now.fragmented == now.ended > 0 and not now.damaged:
            self._sets_ends, now.open = True, False

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
            if now.last_role is NalRole.KEY_SLICE or (now.last_role is NalRole.KEY_PREFIX and not now.slices):
                now.keyframe = True  # a recovery point behind slices is that of the next frame
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
            self._miss_end()
            return (AccessUnit(b"", now.pts, keyframe=False, damaged=True, early=False),) if now.mistaken else ()
        self._close()
        # A gap behind a recovery point: it may be that of a frame of which nothing else came, and so is not the next's.
        if not (now.has_slices or (now.keyframe and now.cut)):
            # Parameter sets with a timestamp of their own belong to the next frame, and so does a gap before them.
            self._lost = self._lost or now.after_gap
            self._carried, self._carried_bytes, self._carried_key = now.parts, now.size, now.keyframe
            return ()
        if not now.marked or now.mistaken:
            self._proved = 0
        elif not now.damaged:  # of a damaged frame nobody knows which slices were its last
            self._proved += 1
        return (self._unit(early=False),)

    def _carry(self, data: bytes, *, keyframe: bool) -> None:
        """Keep what belongs to the next frame."""
        self._carried.append(data)
        self._carried_bytes += len(data) + PIECE_BYTES
        if self._carried_bytes > self._max_bytes:
            raise OversizedFrameError(f"{self._carried_bytes} bytes without a frame")
        self._carried_key = self._carried_key or keyframe

    def _end_early(self) -> AccessUnit:
        self._close()
        self._now.handed_out = True
        unit = self._unit(early=True)
        self._now.parts.clear()
        return unit

    def _after_early_end(self, data: bytes, starts: bool, ends: bool) -> None:
        """Take what still comes with the timestamp of a frame that was handed out."""
        was_lost = self._lost
        if self._is_orphan(data, starts, ends) and (was_lost or self._now.last_role not in _SLICES):
            self._now.last_role = NalRole.SUFFIX  # the beginning is missing: nobody knows of what, and it is left
            return
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
