# SPDX-License-Identifier: AGPL-3.0-or-later
"""A GStreamer pipeline a camera, with OpenVINO: receiving, decoding and dropping run without Python.

GStreamer drops what is not picked; a frame that is picked is scaled as I420 and then turned into BGR, as `videoscale`
and `videoconvert` would, but only it. Run by the system's Python, which has GStreamer's bindings, with OpenVINO and
OpenCV from the benchmark's environment: /usr/bin/python3 -m benchmarks.peers.gstreamer_loop JOB
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

# GStreamer brings libunwind, which must not take the place of the compiler's own: OpenVINO's exceptions would be lost.
ctypes.CDLL("libgcc_s.so.1", ctypes.RTLD_GLOBAL)

import cv2  # noqa: E402
import gi  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstApp, GstVideo  # noqa: E402  versions must be required first

from benchmarks.peers.job import Job  # noqa: E402
from benchmarks.peers.plain_detector import Image, Placement, pad, place  # noqa: E402
from benchmarks.peers.turns import Taken, inspect_in_turn  # noqa: E402
from benchmarks.stamps import read_stamp  # noqa: E402

PIPELINE = (
    "rtspsrc location={url} protocols=tcp latency=0 ! rtph264depay ! h264parse ! avdec_h264 max-threads=1"
    " ! appsink name=sink caps=video/x-raw,format=I420 sync=false max-buffers=1 drop=true"
)


class GStreamerCamera:
    """A running pipeline; its sink holds the newest decoded frame."""

    def __init__(self, url: str, shape_hw: tuple[int, int]) -> None:
        self._shape_hw = shape_hw
        self._pipeline = Gst.parse_launch(PIPELINE.format(url=url))
        self._sink: GstApp.AppSink = self._pipeline.get_by_name("sink")
        self._pipeline.set_state(Gst.State.PLAYING)

    def take(self) -> Taken | None:
        """Return the newest frame, letterboxed."""
        sample = self._sink.try_pull_sample(0)
        if sample is None:
            if self._sink.is_eos():
                raise ConnectionError("the camera has ended")
            return None
        info = GstVideo.VideoInfo.new_from_caps(sample.get_caps())
        placed = place((info.width, info.height), self._shape_hw)
        buffer = sample.get_buffer()
        layout = GstVideo.buffer_get_video_meta(buffer) or info
        mapped, memory = buffer.map(Gst.MapFlags.READ)
        if not mapped:
            raise MemoryError("a frame cannot be read")
        try:
            planes = _planes(memory.data, layout, (info.width, info.height))
            return Taken(self._input(planes, placed), placed, read_stamp(planes[0]))
        finally:
            buffer.unmap(memory)

    def _input(self, planes: list[NDArray[np.uint8]], placed: Placement) -> Image:
        """Return I420 planes as an input."""
        width, height = placed.content_wh
        sizes = ((width, height), (width // 2, height // 2), (width // 2, height // 2))
        small = [
            cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR).reshape(-1)
            for plane, size in zip(planes, sizes, strict=True)
        ]
        i420 = np.concatenate(small).reshape(height * 3 // 2, width)
        return pad(np.asarray(cv2.cvtColor(i420, cv2.COLOR_YUV2BGR_I420), np.uint8), placed, self._shape_hw)


def _planes(data: Any, layout: Any, size_wh: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return views of a frame's three planes; `layout` says where they lie and how long their rows are."""
    width, height = size_wh
    pixels = np.frombuffer(data, np.uint8)
    planes = []
    for offset, stride, columns, rows in zip(
        layout.offset, layout.stride, (width, width // 2, width // 2), (height, height // 2, height // 2), strict=False
    ):
        plane = np.lib.stride_tricks.as_strided(pixels[offset:], (rows, columns), (stride, 1), writeable=False)
        planes.append(plane)
    return planes


def main() -> None:
    """Inspect the job's cameras."""
    job = Job.read(sys.argv[1])
    Gst.init(None)
    cv2.setNumThreads(1)
    inspect_in_turn(job, [GStreamerCamera(url, job.shape_hw) for url in job.urls])


if __name__ == "__main__":
    main()
