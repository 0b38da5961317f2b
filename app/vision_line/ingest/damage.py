# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a file lacks: frames that damage took, and whether it was cut off, which FFmpeg does not say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av
from av.container import InputContainer

from vision_line.encoded import EncodedFrame
from vision_line.ports import VideoPacket

#: The length of a track and the end of its last frame differ by this much even where nothing is missing.
ROUNDING_S = 0.1
PERIODS = 3.0
#: FFmpeg's names of formats whose header says how long the file is. Of others FFmpeg computes a length itself.
_LENGTH_IN_HEADER = frozenset({"matroska", "flv", "asf"})


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


class FileEnding:
    """Watches the packets of one video from its first to its last.

    What containers say of themselves is used: the index of MP4, MOV and AVI, the track's length in Matroska and WebM,
    the file's in those, FLV and ASF where nothing but the video is in it. Containers without any (MPEG-TS, NUT, IVF,
    raw streams) show a cut only where it went through a frame and the decoder rejects that.
    """

    def __init__(self) -> None:
        self._end_s = 0.0  # of the frame that is shown last
        self._is_torn = False

    def watched(self, packets: Iterable[VideoPacket]) -> Iterator[VideoPacket]:
        """Yield `packets`, noting each."""
        for packet in packets:
            self.saw(packet)
            yield packet

    def saw(self, packet: VideoPacket) -> None:
        """Note a packet; the empty one at the end of a file is none."""
        if not packet.size:
            return
        self._is_torn = packet.is_corrupt
        if packet.pts is not None:
            self._end_s = max(self._end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))

    def lacking(self, container: InputContainer, video: av.VideoStream, file_size: int) -> str:
        """Return what `video` (an `av.VideoStream` of `container`), read to its end, lacks; "" where it looks whole."""
        indexed = max((entry.pos + entry.size for entry in video.index_entries), default=0)
        if indexed > file_size:
            return f"the file has {file_size} bytes, its frames are indexed up to byte {indexed}"
        if self._is_torn:
            return "its last frame is not whole"
        length_s = _seconds(video.metadata.get("DURATION", "")) or _length_s(container)
        period_s = float(1 / video.average_rate) if video.average_rate else 0.0
        if length_s > self._end_s + max(ROUNDING_S, PERIODS * period_s):
            return f"its frames end at {self._end_s:.2f} s of {length_s:.2f} s"
        return ""


def _length_s(container: InputContainer) -> float:
    """Return the length that a file's header says, 0 where it says none or may mean its sound."""
    says_length = container.format.name.split(",")[0] in _LENGTH_IN_HEADER
    return (
        container.duration / av.time_base if says_length and container.duration and len(container.streams) == 1 else 0.0
    )


def _seconds(duration: str) -> float:
    """Read Matroska's `HH:MM:SS.fraction`; 0 for anything else."""
    parts = duration.split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return 0.0
    return hours * 3600 + minutes * 60 + seconds
