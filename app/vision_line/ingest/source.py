# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a source gives its camera's thread: one encoded frame after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


class Source(Protocol):
    """An open camera, video or image folder. Used by one thread."""

    def __iter__(self) -> Iterator[EncodedFrame]:
        """Yield frames until the end of a file.

        Raises:
            SourceError: the source cannot be read any further; a camera's end is one too.
        """

    def close(self) -> None:
        """Release the source; idempotent."""
