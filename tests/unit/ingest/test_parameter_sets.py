# SPDX-License-Identifier: AGPL-3.0-or-later
"""The size of frames, read from parameter sets as encoders write them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.ingest.nal import H264, H265, START_CODE, NalCodec
from vision_line.ingest.parameter_sets import frame_size


def keyframe_of(encoder: str, size_wh: tuple[int, int], pixel_format: str, options: dict[str, str]) -> bytes:
    """Return the first frame of an encoder, with its parameter sets, each start code of four bytes."""
    width, height = size_wh
    context: Any = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = width, height, pixel_format
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    name = "x264-params" if encoder == "libx264" else "x265-params"
    quiet = {} if encoder == "libx264" else {name: "log-level=none:repeat-headers=1"}
    context.options = {"preset": "ultrafast"} | quiet | options
    frame = av.VideoFrame.from_ndarray(np.zeros((height, width), np.uint8), format="gray").reformat(format=pixel_format)
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    packets = [*context.encode(frame), *context.encode(None)]
    return bytes(packets[0]).replace(START_CODE, START_CODE[1:]).replace(START_CODE[1:], START_CODE)


@pytest.mark.parametrize("size_wh", [(64, 48), (640, 360), (1920, 1080), (1280, 1024)])
@pytest.mark.parametrize(
    ("encoder", "pixel_format", "options"),
    [
        ("libx264", "yuv420p", {"profile": "baseline"}),
        ("libx264", "yuv420p", {"x264-params": "interlaced=1"}),
        ("libx264", "yuv444p", {"x264-params": "cqm=jvt"}),
        ("libx265", "yuv420p", {}),
    ],
)
def test_sizes_are_those_of_the_encoder(
    encoder: str, pixel_format: str, options: dict[str, str], size_wh: tuple[int, int]
) -> None:
    """Rounded up to whole blocks, which is what a decoder holds in memory."""
    codec = H264 if encoder == "libx264" else H265
    found = frame_size(codec, keyframe_of(encoder, size_wh, pixel_format, options))
    assert found is not None
    assert all(0 <= coded - shown < 32 for coded, shown in zip(found, size_wh, strict=True))


def test_the_largest_of_several_counts() -> None:
    """A camera may send more parameter sets than it uses."""
    small, large = (keyframe_of("libx264", size, "yuv420p", {}) for size in ((64, 48), (640, 480)))
    assert frame_size(H264, small + large + small) == (640, 480)


@pytest.mark.parametrize("codec", [H264, H265])
@given(data=st.binary(max_size=200))
def test_garbage_has_no_size_or_any(codec: NalCodec, data: bytes) -> None:
    """And raises nothing."""
    kind = b"\x67" if codec is H264 else b"\x42\x01"
    frame_size(codec, START_CODE + kind + data)
    frame_size(codec, START_CODE + data)


def test_frames_without_parameter_sets_have_none() -> None:
    """None, not zero."""
    assert frame_size(H264, START_CODE + b"\x65\x88\x84") is None
