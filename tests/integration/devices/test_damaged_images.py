# SPDX-License-Identifier: AGPL-3.0-or-later
"""Damaged JPEG and PNG images are corrupt, also where FFmpeg would conceal it; sloppy ones are not."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vision_line.devices.cpu.decoder import CpuDecoder
from vision_line.errors import SourceError, SourceErrorCode


def board() -> NDArray[np.uint8]:
    """An image with edges and noise, as cameras take them."""
    source = np.random.default_rng(5)
    blocks = np.kron(source.integers(30, 220, (15, 20, 3)), np.ones((16, 16, 1)))
    return np.clip(blocks + source.normal(0, 8, blocks.shape), 0, 255).astype(np.uint8)


def pillow(kind: str = "JPEG", mode: str = "RGB", **options: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        memory = io.BytesIO()
        Image.fromarray(board()).convert(mode).save(memory, kind, **options)
        return memory.getvalue()

    return make


def opencv(*options: int) -> Callable[[], bytes]:
    return lambda: bytes(cv2.imencode(".jpg", board(), list(options))[1])


def ffmpeg(pixels: str) -> Callable[[], bytes]:
    def make() -> bytes:
        encoder: Any = av.CodecContext.create("mjpeg", "w")
        encoder.height, encoder.width = board().shape[:2]
        encoder.pix_fmt, encoder.time_base = pixels, Fraction(1, 25)
        frame = av.VideoFrame.from_ndarray(board(), format="rgb24").reformat(format=pixels)
        return bytes([*encoder.encode(frame), *encoder.encode()][0])

    return make


ENCODERS: dict[str, Callable[[], bytes]] = {
    "pillow": pillow(),
    "pillow 4:4:4": pillow(subsampling=0),
    "pillow optimized": pillow(optimize=True, quality=60),
    "pillow progressive": pillow(progressive=True),
    "pillow grey": pillow(mode="L"),
    "pillow CMYK": pillow(mode="CMYK"),
    "pillow restart markers": pillow(restart_marker_rows=1),
    "opencv": opencv(),
    "opencv restart markers": opencv(cv2.IMWRITE_JPEG_RST_INTERVAL, 20),
    "opencv progressive": opencv(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "ffmpeg": ffmpeg("yuvj420p"),
    "ffmpeg 4:2:2": ffmpeg("yuvj422p"),
    "png": pillow("PNG"),
    "png grey": pillow("PNG", "L"),
    "png palette": pillow("PNG", "P"),
}


def is_corrupt(file: bytes) -> bool:
    """Whether the decoder refuses an image; it may also leave it out."""
    with av.open(io.BytesIO(file), "r", format="image2") as container:
        stream = container.streams.video[0]
        if stream.codec_context is None:
            return True  # not even known as an image
        with closing(CpuDecoder("a", stream)) as decoder:
            try:
                frames = [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]
            except SourceError as exc:
                return exc.code is SourceErrorCode.CORRUPT
    return not frames or any(frame.corrupt for frame in frames)


def data_of(file: bytes) -> int:
    """Return where an image's coded data begin."""
    return file.rfind(b"\xff\xda") + 14 if file.startswith(b"\xff\xd8") else 100


@pytest.mark.parametrize("name", ENCODERS)
def test_an_image_that_was_cut_short_is_corrupt(name: str) -> None:
    """Anywhere from its first rows to shortly before its end."""
    file = ENCODERS[name]()
    begin = data_of(file)
    assert not is_corrupt(file)
    for share in (0.0, 0.1, 0.5, 0.9, 0.97):
        assert is_corrupt(file[: begin + round((len(file) - begin) * share)]), share


@pytest.mark.parametrize("name", ENCODERS)
def test_an_image_with_overwritten_data_is_corrupt(name: str) -> None:
    """A sector of another file, or an erased one, as a failing card leaves them."""
    file, source, found = ENCODERS[name](), random.Random(1), 0
    begin = data_of(file)
    for _ in range(10):
        at = source.randrange(begin, len(file) - 600)
        assert is_corrupt(file[:at] + bytes([0xFF]) * 512 + file[at + 512 :])
        found += is_corrupt(file[:at] + source.randbytes(512) + file[at + 512 :])
    assert found >= 9


#: With tables of the image's own zeros may be flat pieces of it, and of progressive JPEG there are no usual tables.
USUAL_TABLES = [name for name in ENCODERS if "progressive" not in name and "optimized" not in name]


@pytest.mark.parametrize("name", USUAL_TABLES)
def test_an_image_with_a_hole_is_corrupt(name: str) -> None:
    """A lost sector, and an end that was never written, read as zeros: decoders take them for an image."""
    file, source = ENCODERS[name](), random.Random(3)
    begin = data_of(file)
    for _ in range(10):
        at = source.randrange(begin, len(file) - 600)
        assert is_corrupt(file[:at] + bytes(512) + file[at + 512 :])
        assert is_corrupt(file[:at] + bytes(len(file) - at))


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"subsampling": 0}, {"progressive": True}])
@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_flat_image_has_no_hole(options: dict[str, Any], level: int, mode: str) -> None:
    """Optimized, it may be coded in nothing but zeros."""
    memory = io.BytesIO()
    Image.new(mode, (1280, 960), (level,) * len(mode)).save(memory, "JPEG", **options)
    assert not is_corrupt(memory.getvalue())
    assert not is_corrupt(memory.getvalue() + bytes(1000))


@pytest.mark.parametrize("name", ENCODERS)
def test_most_rotten_images_are_corrupt(name: str) -> None:
    """Twelve changed bytes. JPEG has no checksum: often they are codes all the same, and some such images pass."""
    file, source = ENCODERS[name](), random.Random(2)
    begin, found = data_of(file), 0
    for _ in range(30):
        rotten = bytearray(file)
        for _ in range(12):
            rotten[source.randrange(begin, len(file) - 2)] = source.randrange(256)
        found += is_corrupt(bytes(rotten))
    assert found >= (30 if file.startswith(b"\x89PNG") else 12)


SLOPPY: dict[str, Callable[[bytes], bytes]] = {
    "no end": lambda file: file[:-2],
    "something behind it": lambda file: file + bytes(100) + b"trailer",
    "another image behind it": lambda file: file + file,
    "zeros before the end": lambda file: file[:-2] + bytes(6) + file[-2:],
    "fill bytes before the end": lambda file: file[:-2] + b"\xff\xff\xff" + file[-2:],
    "a short JFIF segment": lambda file: file[:2] + b"\xff\xe0\x00\x04ab" + file[2:],
    "empty EXIF": lambda file: file[:2] + b"\xff\xe1\x00\x08Exif\0\0" + file[2:],
    "an unknown segment": lambda file: file[:2] + b"\xff\xe5\x00\x10fourteen bytes" + file[2:],
    "a comment": lambda file: file[:2] + b"\xff\xfe\x00\x06abcd" + file[2:],
    "half an Adobe segment": lambda file: file[:2] + b"\xff\xee\x00\x07Adobe" + file[2:],
    "half a colour profile": lambda file: file[:2] + b"\xff\xe2\x00\x12ICC_PROFILE\0\x05\x03xx" + file[2:],
}


@pytest.mark.parametrize("name", [name for name in ENCODERS if not name.startswith("png")])
@pytest.mark.parametrize("kind", SLOPPY)
def test_a_sloppy_image_is_whole(name: str, kind: str) -> None:
    """Cameras leave things out and put things in; the image itself is all there."""
    assert not is_corrupt(SLOPPY[kind](ENCODERS[name]()))


@pytest.mark.parametrize("is_damaged", [False, True])
def test_damage_in_wmv_is_not_concealed(is_damaged: bool) -> None:
    """A keyframe of WMV 8 with a piece that is overwritten is refused, and a whole one is not."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="asf") as container:
        stream: Any = container.add_stream("wmv2", rate=25)
        stream.height, stream.width = board().shape[:2]
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(board(), format="rgb24")))
        container.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as container:
        video = container.streams.video[0]
        data = bytearray(bytes(next(iter(container.demux(video)))))
        if is_damaged:
            begin, size = len(data) // 3, len(data) // 8
            data[begin : begin + size] = random.Random(1).randbytes(size)
        with closing(CpuDecoder("a", video)) as decoder:
            assert is_refused(decoder, av.Packet(bytes(data))) == is_damaged


def is_refused(decoder: CpuDecoder, packet: Any) -> bool:
    """Whether a decoder gives no whole image for a packet."""
    try:
        return any(frame.corrupt for frame in decoder.decode(packet))
    except SourceError:
        return True


def test_one_damaged_image_of_a_motion_jpeg_is_corrupt_alone() -> None:
    """The next one is whole, and inspected."""
    memory = io.BytesIO()
    file = ENCODERS["ffmpeg"]()
    with av.open(memory, "w", format="avi") as container:
        stream: Any = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width = board().shape[:2]
        stream.pix_fmt = "yuvj420p"
        for number in range(5):
            packet: Any = av.Packet(file[: len(file) // 2] if number == 2 else file)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            packet.is_keyframe = True
            container.mux(packet)
    memory.seek(0)
    damaged = []
    with av.open(memory, "r") as container:
        video = container.streams.video[0]
        with closing(CpuDecoder("a", video)) as decoder:
            for part in container.demux(video):
                try:
                    damaged += [frame.corrupt for frame in decoder.decode(part)]
                except SourceError:
                    damaged.append(True)
    assert damaged == [False, False, True, False, False]
