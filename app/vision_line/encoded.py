# SPDX-License-Identifier: AGPL-3.0-or-later
"""A frame as its camera sent it, and who else may see it on its way to the decoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from vision_line.ports import EncodedVideo, VideoPacket


@dataclass(slots=True)
class EncodedFrame:
    """All packets of one frame, joined, and the time at which the last of them was read. Its camera's thread owns it.

    `packet` is an `av.Packet`, or None: then the decoder is to be flushed, or, if `damaged`, nothing is left to decode.
    `origin` is the `av.VideoStream` it came from; another origin needs another decoder. `counts` is False where no
    further frame arrived: a flush, or damage to the frame before. `pts_s` is its presentation time in seconds of the
    stream's own clock. `began_s` is when its first packet had been
    read, where that is known, and `behind_s` how late it came. One that is not `shown` has been counted as dropped, and
    is decoded only because later ones refer to it. `media_s` is when a file shows it, in seconds of the file's own time
    without jumps. `on_damage` is called where decoding shows that it is damaged, if the source is to know.
    """

    packet: VideoPacket | None
    origin: EncodedVideo | None
    keyframe: bool
    arrived_s: float
    arrived_utc: float
    camera_utc: float | None = None
    damaged: bool = False
    counts: bool = True
    pts_s: float | None = None
    began_s: float | None = None
    behind_s: float = 0.0
    shown: bool = True
    media_s: float | None = None
    on_damage: Callable[[], None] | None = None


class EncodedTap(Protocol):
    """Sees what one camera sends: each frame before it is decoded, in its order, over all connections.

    Called in the camera's thread, which decodes nothing meanwhile: it must neither wait nor raise. It may keep the
    packet and the origin, which nobody changes, but not the frame, whose thread goes on to write into it. A connection
    that hung and was given up may bring one more frame while the next one is read, by another thread.
    """

    def saw(self, encoded: EncodedFrame, /) -> None:
        """Take note of a frame, also of a damaged one, which is never decoded."""


@dataclass(frozen=True, slots=True)
class _SeveralTaps:
    """Shows each frame to one tap after the other."""

    taps: tuple[EncodedTap, ...]

    def saw(self, encoded: EncodedFrame, /) -> None:
        for tap in self.taps:
            tap.saw(encoded)


def joined_taps(*taps: EncodedTap | None) -> EncodedTap | None:
    """Return one tap for all of `taps`; None where there is none."""
    present = tuple(tap for tap in taps if tap is not None)
    return _SeveralTaps(present) if len(present) > 1 else next(iter(present), None)
