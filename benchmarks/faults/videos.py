# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cameras' video: drawn boards with a stamp on every frame, H.264 with a keyframe each second."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from benchmarks.stamps import stamp
from vision_line.simulator.clips import default_directory, ensure_clips

FPS = 25
SECONDS = 180


@dataclass(frozen=True, slots=True)
class Kind:
    """How a video is made: every frame's size, and how many frames lie between two keyframes."""

    size_wh: tuple[int, int] = (640, 360)
    group: int = FPS

    @property
    def name(self) -> str:
        """Part of the file's name."""
        return f"{self.size_wh[0]}x{self.size_wh[1]}-{self.group}"


def ensure_stamped_video(kind: Kind = Kind(), folder: Path | None = None) -> Path:
    """Return the video (MP4), which is made once."""
    folder = default_directory() / "faults" if folder is None else folder
    target = folder / f"stamped-{kind.name}-{SECONDS}s.mp4"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial.mp4")
        _write(partial, ensure_clips(1, 1)[0].video, kind)
        partial.replace(target)
    return target


def units_of(video: Path) -> list[list[bytes]]:
    """Return the NAL units of each frame, without start codes, parameter sets among a keyframe's."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        to_annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [annex_b for packet in container.demux(stream) for annex_b in to_annex_b.filter(packet)]
        return [
            [nal.rstrip(b"\x00") for nal in re.split(b"\x00\x00\x00\x01|\x00\x00\x01", bytes(packet)) if nal]
            for packet in packets
            if packet.size
        ]


def _write(target: Path, clip: Path, kind: Kind) -> None:
    width, height = kind.size_wh
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate, stream.gop_size = 1_500_000, kind.group
        number = 0
        while number < SECONDS * FPS:
            with av.open(str(clip)) as source:
                for frame in source.decode(video=0):
                    small = frame.reformat(width, height, "yuv420p")
                    planes = np.ascontiguousarray(small.to_ndarray(), np.uint8)
                    stamp(planes[:height], number)
                    stamped = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                    stamped.pts = number
                    output.mux(stream.encode(stamped))
                    number += 1
        output.mux(stream.encode())
