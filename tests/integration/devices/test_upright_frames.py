# SPDX-License-Identifier: AGPL-3.0-or-later
"""Frames come out of the decoder as people see them: turned by EXIF, by the container or by the stream itself."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from numpy.typing import NDArray
from PIL import Image

from vision_line.devices.cpu.converter import Converter
from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.devices.cpu.planes import open_planes
from vision_line.errors import SourceError, SourceErrorCode
from vision_line.ports import DecodedFrame

ONE = 1 << 16
#: By EXIF orientation: the display matrix that says the same (a, b, c, d), and how an upright image is then stored.
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


def board(channels: int = 3) -> NDArray[np.uint8]:
    """An image of large blocks, none like another."""
    blocks = np.random.default_rng(3).integers(30, 220, (6, 8, channels)).astype(np.uint8)
    return np.kron(blocks, np.ones((16, 16, 1), np.uint8)).astype(np.uint8)


def stored(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return the pixels that a camera held in another way stores, so that `orientation` makes them upright."""
    back: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: np.rot90,
        7: lambda p: np.rot90(p.swapaxes(0, 1), 2),
        8: lambda p: np.rot90(p, -1),
    }
    return np.ascontiguousarray(back[orientation](upright))


def decoded(memory: io.BytesIO, demuxer: str | None = None) -> list[DecodedFrame]:
    memory.seek(0)
    with av.open(memory, "r", format=demuxer) as container:
        stream = container.streams.video[0]
        with closing(CpuDecoder("a", stream)) as decoder:
            return [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]


def network_input(frame: DecodedFrame) -> NDArray[np.float32]:
    """Return what the network would see of a frame."""
    out = np.zeros((128, 128, 3), np.float32)
    Converter().convert(open_planes(frame.data), frame.colour, out)
    return out


def still(kind: str, pixels: NDArray[np.uint8], orientation: int, **options: Any) -> io.BytesIO:
    exif = Image.Exif()
    exif[0x0112] = orientation
    tag: dict[str, Any] = {"tiffinfo": {0x0112: orientation}} if kind == "TIFF" else {"exif": exif}
    memory = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(memory, kind, **tag, **options)
    return memory


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "channels", "options"),
    [
        ("JPEG", 3, {"quality": 98}),
        ("JPEG", 3, {"quality": 98, "subsampling": 0}),
        ("JPEG", 3, {"quality": 98, "subsampling": 1}),
        ("JPEG", 3, {"quality": 98, "progressive": True}),
        ("JPEG", 1, {"quality": 98}),
        ("PNG", 3, {}),
        ("PNG", 4, {}),
        ("PNG", 1, {}),
        ("WEBP", 3, {"quality": 98}),
        ("TIFF", 3, {}),
    ],
)
def test_a_tagged_image_is_inspected_as_the_upright_one(
    kind: str, channels: int, options: dict[str, Any], orientation: int
) -> None:
    """Whatever the eight orientations say: same size, and the network sees the same."""
    upright = board(channels)
    (wanted,) = decoded(still(kind, upright, 1, **options), "image2")
    (found,) = decoded(still(kind, stored(upright, orientation), orientation, **options), "image2")

    assert found.size_wh == wanted.size_wh == (128, 96)
    assert (found.data.width, found.data.height) == found.size_wh
    assert (found.colour, found.pts_s, found.keyframe) == (wanted.colour, wanted.pts_s, wanted.keyframe)
    assert np.abs(network_input(found) - network_input(wanted)).mean() < 0.02


def video(pixels: NDArray[np.uint8], matrix: tuple[int, ...] | None, codec: str, pixel_format: str) -> io.BytesIO:
    memory = io.BytesIO()
    with av.open(memory, "w", format="mov" if codec != "h264" else "h264") as container:
        stream: Any = container.add_stream("libx264" if codec == "h264" else codec, rate=25)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = pixel_format
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pixel_format)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return memory


def matrix_of(orientation: int) -> tuple[int, ...]:
    a, b, c, d = (value * ONE for value in MATRICES[orientation])
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [
        ("libx264", "yuv420p"),
        ("libx264", "yuv422p"),
        ("libx264", "yuv420p10le"),
        ("libx265", "yuv420p"),
        ("png", "rgb24"),
    ],
)
def test_a_video_with_a_display_matrix_is_inspected_upright(codec: str, pixel_format: str, orientation: int) -> None:
    """As players show it."""
    upright = board()
    wanted = decoded(video(upright, None, codec, pixel_format))
    found = decoded(video(stored(upright, orientation), matrix_of(orientation), codec, pixel_format))

    assert [frame.size_wh for frame in found] == [(128, 96)] * 5
    assert [frame.pts_s for frame in found] == [frame.pts_s for frame in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert np.abs(network_input(one) - network_input(other)).mean() < 0.03


def test_a_camera_that_says_in_its_stream_that_it_hangs_sideways_is_turned_from_then_on() -> None:
    """The SEI message of H.264 comes with a keyframe, and may begin in the midst of a stream."""
    upright = board()
    plain = video(upright, None, "h264", "yuv420p").getvalue()
    turned = io.BytesIO()
    source = io.BytesIO(video(stored(upright, 6), None, "h264", "yuv420p").getvalue())
    with av.open(source, "r", format="h264") as container, av.open(turned, "w", format="h264") as output:
        stream = container.streams.video[0]
        target = output.add_stream_from_template(stream)
        insert = BitStreamFilterContext("h264_metadata=display_orientation=insert:rotate=-90", stream)
        for packet in container.demux(stream):
            for filtered in insert.filter(packet if packet.size else None):
                filtered.stream = target
                filtered.pts = filtered.dts = None
                output.mux(filtered)
    found = decoded(io.BytesIO(plain + turned.getvalue()), "h264")
    wanted = network_input(found[0])

    assert [frame.size_wh for frame in found] == [(128, 96)] * 10
    assert all(np.abs(network_input(frame) - wanted).mean() < 0.03 for frame in found)


def test_a_turn_by_another_angle_is_refused() -> None:
    """It would be inspected neither upright nor sideways."""
    half = round(ONE * 0.7071)
    memory = video(board(), (half, half, 0, -half, half, 0, 0, 0, 1 << 30), "libx264", "yuv420p")
    with pytest.raises(SourceError, match="right angles") as refused:
        decoded(memory)
    assert refused.value.code is SourceErrorCode.CODEC_UNSUPPORTED
