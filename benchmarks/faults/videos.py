# SPDX-License-Identifier: AGPL-3.0-or-later
"""The cameras' video: drawn boards with a stamp on every frame, H.264 with a keyframe each second."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from benchmarks.faults.stamps import stamp
from vision_line.simulator.clips import default_directory, ensure_clips

FPS = 25
SECONDS = 180


def ensure_stamped_video(folder: Path | None = None) -> Path:
    """Return the video (640x360, MP4), which is made once."""
    folder = default_directory() / "faults" if folder is None else folder
    target = folder / f"stamped-{SECONDS}s.mp4"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial.mp4")
        _write(partial, ensure_clips(1, 1)[0].video)
        partial.replace(target)
    return target


def _write(target: Path, clip: Path) -> None:
    with av.open(str(target), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        stream.bit_rate, stream.gop_size = 1_500_000, FPS
        number = 0
        while number < SECONDS * FPS:
            with av.open(str(clip)) as source:
                for frame in source.decode(video=0):
                    planes = np.ascontiguousarray(frame.reformat(format="yuv420p").to_ndarray(), np.uint8)
                    stamp(planes[:360], number)
                    stamped = av.VideoFrame.from_ndarray(planes, format="yuv420p")
                    stamped.pts = number
                    output.mux(stream.encode(stamped))
                    number += 1
        output.mux(stream.encode())
