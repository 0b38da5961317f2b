# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a stream says of itself before it is decoded: sequence headers, size, depth, colour, order."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.devices.cuda.decoders.sequence import SequenceWatch, read_sequence, sequence_headers
from vision_line.errors import SourceError
from vision_line.frames import Colour, ColourMatrix, ColourRange

Encode = Callable[..., io.BytesIO]

ANNEX_B = {"libx264": "h264", "libx265": "hevc"}


def _packets(memory: io.BytesIO) -> tuple[Any, list[Any]]:
    container = av.open(memory, "r")
    stream = container.streams.video[0]
    return stream, [packet for packet in container.demux(stream) if packet.size]


@pytest.mark.parametrize(
    ("codec", "pixels", "bits"),
    [
        ("libx264", "yuv420p", 8),
        ("libx264", "yuv420p10le", 10),
        ("libx265", "yuv420p", 8),
        ("libx265", "yuv420p10le", 10),
        ("libsvtav1", "yuv420p10le", 10),
        ("mjpeg", "yuvj420p", 8),
    ],
)
def test_first_frame_shows_the_sequence(encode: Encode, codec: str, pixels: str, bits: int) -> None:
    """Codec, size, depth and sampling are read from one keyframe, and live streams reorder nothing."""
    stream, packets = _packets(encode(codec, (130, 98), pixels))

    sequence = read_sequence("a", stream, packets[0])

    assert sequence.codec == {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1"}.get(codec, codec)
    assert (sequence.size_wh, sequence.bits, sequence.is_420) == ((130, 98), bits, True)
    assert not sequence.reorders
    assert str(sequence) == f"{sequence.codec} 130x98, {bits} bit"


def test_reordering_and_finer_chroma_are_reported(encode: Encode) -> None:
    """B-frames and 4:4:4 are seen before the first frame is decoded for use."""
    stream, packets = _packets(encode("libx264", pixels="yuv444p", options={"bf": "2"}))

    sequence = read_sequence("a", stream, packets[0])

    assert sequence.reorders
    assert not sequence.is_420


@pytest.mark.parametrize(
    ("size_wh", "colour", "expected"),
    [
        ((128, 96), {}, Colour(ColourMatrix.BT601, ColourRange.LIMITED, assumed=True)),
        ((128, 720), {}, Colour(ColourMatrix.BT709, ColourRange.LIMITED, assumed=True)),
        ((128, 96), {"colorspace": 1, "color_range": 2}, Colour(ColourMatrix.BT709, ColourRange.FULL)),
    ],
)
def test_colour_follows_the_stream_or_the_rule(
    encode: Encode, size_wh: tuple[int, int], colour: dict[str, int], expected: Colour
) -> None:
    """What the parameter sets leave out is decided as on the CPU."""
    stream, packets = _packets(encode("libx264", size_wh, **colour))

    assert read_sequence("a", stream, packets[0]).colour == expected


def test_keyframe_that_is_none_is_corrupt(encode: Encode) -> None:
    """Where there is no frame to read, the error names the camera and is no reason to give the camera up."""
    stream, _ = _packets(encode("libx264"))

    with pytest.raises(SourceError, match=r"'dock-3': CORRUPT"):
        read_sequence("dock-3", stream, av.Packet(b"\x00\x00\x00\x01\x65rubbish"))


@pytest.mark.parametrize(
    ("codec", "cropped", "expected"),
    [
        ("libx264", "crop_left=16", True),
        ("libx264", "crop_top=8", True),
        ("libx264", "crop_right=16", False),
        ("libx265", "crop_left=16", True),
        ("libx265", "crop_bottom=8", False),
    ],
)
def test_cropping_on_the_left_or_above_is_seen(encode: Encode, codec: str, cropped: str, expected: bool) -> None:
    """Decoders of the GPU crop on the other sides alone."""
    stream, packets = _packets(encode(codec, container="mpegts"))
    cropping = av.BitStreamFilterContext(f"{ANNEX_B[codec]}_metadata={cropped}", stream)
    (packet,) = cropping.filter(packets[0])

    assert read_sequence("a", stream, packet).crops_before is expected


@pytest.mark.parametrize("params", ["interlaced=1", "fake-interlaced=1"])
def test_fields_are_seen(encode: Encode, params: str) -> None:
    """Also where the first frame has none: a later one may."""
    stream, packets = _packets(encode("libx264", options={"x264-params": params}))

    assert read_sequence("a", stream, packets[0]).has_fields


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_headers_change_only_with_the_sequence(encode: Encode, codec: str) -> None:
    """Keyframes of one sequence repeat the same headers, other frames have none, another size has others."""
    container = ANNEX_B.get(codec, "ivf")
    name = {"libsvtav1": "av1"}.get(codec, container)
    _, packets = _packets(encode(codec, container=container))
    _, others = _packets(encode(codec, (160, 96), container=container))
    keys = [sequence_headers(bytes(packet), name) for packet in packets if packet.is_keyframe]
    rest = [sequence_headers(bytes(packet), name) for packet in packets if not packet.is_keyframe]

    assert len(keys) == 2
    assert keys[0]
    assert keys[0] == keys[1]
    assert set(rest) == {b""}
    assert sequence_headers(bytes(others[0]), name) not in (b"", keys[0])


@given(st.binary(max_size=64), st.sampled_from(["h264", "hevc", "av1", "mjpeg"]))
def test_any_bytes_can_be_searched(data: bytes, codec: str) -> None:
    """Damaged data ends the search, never the program."""
    assert isinstance(sequence_headers(b"\x00\x00\x01" + data, codec), bytes)
    assert isinstance(sequence_headers(data, codec), bytes)


def _watch(extradata: bytes = b"") -> SequenceWatch:
    context = SimpleNamespace(extradata=extradata, codec=SimpleNamespace(canonical_name="h264"))
    return SequenceWatch(SimpleNamespace(codec_context=context))


def _packet(pts: int | None, key: bool = False, sps: bytes = b"") -> Any:
    packet: Any = av.Packet(
        b"\x00\x00\x00\x01\x67" + sps + b"\x00\x00\x00\x01\x65slice" if sps else b"\x00\x00\x01\x41s"
    )
    packet.pts = pts
    packet.is_keyframe = key
    return packet


def test_watch_sees_another_sequence() -> None:
    """A keyframe with other headers is noticed; one that repeats them, or has none, goes on with the old."""
    watch = _watch()
    seen = [watch.note(_packet(n, key=True, sps=sps)) for n, sps in enumerate([b"one", b"one", b"", b"two", b"two"])]

    assert seen == [True, False, False, True, False]


def test_watch_does_not_read_length_prefixes() -> None:
    """In files of the MP4 kind nothing looks like a parameter set."""
    assert not _watch(b"\x01\x64").note(_packet(0, key=True, sps=b"one"))


@pytest.mark.parametrize(
    ("times", "reorders"),
    [
        ([0, 1, 2, 3, 4, 5], False),
        ([0, 3, 1, 2, 6, 4, 5], True),
        ([0, 2, 1, 4, 3], True),
        ([900, 901, 2, 3, 4], False),  # the camera set its clock
        ([None, 0, None, 1], False),
    ],
)
def test_watch_sees_reordering(times: list[int | None], reorders: bool) -> None:
    """Timestamps that step back again and again mean reordered frames."""
    watch = _watch()
    for number, pts in enumerate(times):
        watch.note(_packet(pts, key=number == 0))

    assert watch.reorders is reorders
