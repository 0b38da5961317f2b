# SPDX-License-Identifier: AGPL-3.0-or-later
"""Joins the pieces of RTP payload that FFmpeg hands out into whole pictures, without waiting for the next picture.

FFmpeg's parser knows that a picture is complete only when the next one begins: every picture is held back by a frame
period. With the parser off (`noparse`) each RTP packet comes as it is: a NAL unit, several, or a fragment of one. The
RTP marker bit, which says "last packet of the picture", is not passed on. So the end is recognised by two things:

* a NAL unit is complete when it came whole, or when its last fragment is shorter than its first (senders fill every
  fragment but the last);
* a picture is complete when as many slices are complete, and the last starts at the same place, as in the picture
  of its kind (key or not) before.

Whether that holds for a camera is watched, not assumed: pictures are handed out early only after `PROOF` pictures in
a row were, or would have been, rightly recognised, and one picture handed out too early makes the proof needed
`MISTRUST` times as long. Until then, and whenever the signs are missing, a picture is handed out when the next one
begins, as FFmpeg's parser does. A wrong early end is never silent: an empty unit marked `damaged` follows it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vision_line.ingest.nal import START_CODE, NalCodec, NalRole, nal_headers

PROOF = 8
MISTRUST = 8
MAX_BYTES = 32 << 20

_SLICES = frozenset({NalRole.SLICE, NalRole.KEY_SLICE})
_KEYS = frozenset({NalRole.KEY_SLICE, NalRole.KEY_PREFIX})


class OversizedPictureError(ValueError):
    """A picture never ends: the timestamps do not advance."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """All NAL units of one picture in Annex B form.

    `damaged`: it cannot be decoded rightly; with empty `data` it says so of the unit before, which was cut short.
    """

    data: bytes
    pts: int | None
    keyframe: bool
    damaged: bool
    early: bool  # handed out before the next picture began


@dataclass(slots=True)
class _Assembly:
    """The picture whose pieces are arriving."""

    pts: int | None
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    keyframe: bool = False
    slices: int = 0
    address: int = 0  # where the last slice starts
    first_bytes: int = 0  # size of the piece that began the NAL unit now arriving
    fragmented: bool = False
    headless: bool = False  # a fragment came whose NAL unit's beginning did not
    looks_complete: bool = False
    guessed: bool = False  # the end was recognised, rightly or not
    mistaken: bool = False  # and then a further slice came
    handed_out: bool = False
    last_role: NalRole = NalRole.SUFFIX  # of the NAL unit that began last


class AccessUnits:
    """Assembles one connection's pieces. Used by one thread; holds at most one picture."""

    def __init__(self, codec: NalCodec) -> None:
        """Start without any knowledge of how the camera sends."""
        self._codec = codec
        self._overhead = len(START_CODE) + codec.header_bytes  # of a piece that begins a NAL unit, beyond its payload
        self._needed = PROOF
        self._proved = 0
        self._expected: dict[bool, tuple[int, int]] = {}  # by keyframe or not: slices, start of the last
        self._fragment = 0  # bytes in a full fragment; 0 until a fragmented NAL unit was seen
        self._largest_whole = 0  # bytes of the largest piece that proved to be a whole NAL unit
        self._carried = b""
        self._carried_key = False
        self._now = _Assembly(None)

    def push(self, data: bytes, pts: int | None) -> tuple[AccessUnit, ...]:
        """Take the next piece and return the pictures that are now known to be complete, oldest first.

        Raises:
            OversizedPictureError: `MAX_BYTES` came without the end of a picture.
        """
        done: tuple[AccessUnit, ...] = ()
        starts = data.startswith(START_CODE)
        if pts != self._now.pts or (
            starts and self._now.slices and not self._now.handed_out and self._begins_picture(data)
        ):
            done = self._end_by_next()
            self._begin(pts)
        if self._now.handed_out:
            self._after_early_end(data, starts)
            return done
        self._add(data, starts)
        if self._now.looks_complete:
            self._now.guessed = True
            if self._proved >= self._needed:
                return (*done, self._end_early())
        return done

    def flush(self) -> tuple[AccessUnit, ...]:
        """Return what is left when the stream has ended."""
        done = self._end_by_next()
        self._begin(None)
        return done

    def _begin(self, pts: int | None) -> None:
        carried, keyframe = self._carried, self._carried_key
        self._carried, self._carried_key = b"", False
        self._now = _Assembly(pts, [carried] if carried else [], len(carried), keyframe)

    def _begins_picture(self, data: bytes) -> bool:
        """Whether a NAL unit after slices starts the next picture though the timestamp is the same.

        Only a delimiter says so: some senders repeat parameter sets before every slice of a picture.
        """
        return self._codec.role(data, len(START_CODE)) is NalRole.DELIMITER

    def _add(self, data: bytes, starts: bool) -> None:
        now = self._now
        now.parts.append(data)
        now.size += len(data)
        if now.size > MAX_BYTES:
            raise OversizedPictureError(f"{now.size} bytes of one picture")
        if now.guessed and self._holds_slice(data, starts):
            now.mistaken = True
        if starts:
            self._add_nal_units(data)
        else:
            self._add_fragment(len(data))

    def _add_nal_units(self, data: bytes) -> None:
        now = self._now
        now.first_bytes = len(data)
        now.fragmented = False
        slices = now.slices
        for at in nal_headers(data):
            now.last_role = role = self._codec.role(data, at)
            if role in _SLICES:
                now.slices += 1
                now.address = self._codec.slice_address(data, at)
            if role in _KEYS:
                now.keyframe = True
        whole_limit = self._fragment + self._overhead if self._fragment else self._largest_whole + 1
        complete = now.slices > slices and len(data) < whole_limit
        now.looks_complete = complete and self._structure_matches()

    def _add_fragment(self, size: int) -> None:
        now = self._now
        if not now.first_bytes:
            now.headless = True
            return
        now.fragmented = True
        full = now.first_bytes - self._overhead
        self._fragment = max(self._fragment, full)
        now.looks_complete = size < full and now.last_role in _SLICES and self._structure_matches()

    def _structure_matches(self) -> bool:
        return (self._now.slices, self._now.address) == self._expected.get(self._now.keyframe)

    def _holds_slice(self, data: bytes, starts: bool) -> bool:
        """Whether a piece is, or goes on with, a slice."""
        if starts:
            roles = [self._codec.role(data, at) for at in nal_headers(data)]
            self._now.last_role = roles[-1]
            return not _SLICES.isdisjoint(roles)
        return self._now.last_role in _SLICES

    def _end_by_next(self) -> tuple[AccessUnit, ...]:
        """Hand out what was held until the next picture began, and learn from it."""
        if self._now.handed_out:
            if not self._now.mistaken:
                return ()
            return (AccessUnit(b"", self._now.pts, keyframe=False, damaged=True, early=False),)
        if not self._now.slices and not self._now.headless:
            # Parameter sets with a timestamp of their own belong to the next picture.
            self._carry(b"".join(self._now.parts), keyframe=self._now.keyframe)
            return ()
        self._learn()
        return (self._unit(early=False),)

    def _learn(self) -> None:
        if not self._now.fragmented:
            self._largest_whole = max(self._largest_whole, self._now.first_bytes)
        if self._now.mistaken or not self._structure_matches():
            self._proved = 0
        elif self._now.guessed:
            self._proved += 1
        self._expected[self._now.keyframe] = (self._now.slices, self._now.address)

    def _carry(self, data: bytes, *, keyframe: bool) -> None:
        """Keep what belongs to the next picture."""
        self._carried += data
        self._carried_key = self._carried_key or keyframe

    def _end_early(self) -> AccessUnit:
        self._now.handed_out = True
        self._proved += 1
        unit = self._unit(early=True)
        self._now.parts.clear()
        return unit

    def _after_early_end(self, data: bytes, starts: bool) -> None:
        """Take what still comes with the timestamp of a picture that was handed out."""
        if self._holds_slice(data, starts):
            if not self._now.mistaken:
                self._proved = 0
                self._needed *= MISTRUST
            self._now.mistaken = True
        elif self._now.last_role is not NalRole.SUFFIX:
            self._carry(data, keyframe=self._now.last_role is NalRole.KEY_PREFIX)

    def _unit(self, *, early: bool) -> AccessUnit:
        return AccessUnit(b"".join(self._now.parts), self._now.pts, self._now.keyframe, self._now.headless, early)
