# SPDX-License-Identifier: AGPL-3.0-or-later
"""Byte streams of what containers keep apart: against libavformat's own conversion."""

from __future__ import annotations

from io import BytesIO

import av
import numpy as np
import pytest

from vision_line.records.clips.nal_units import byte_stream, parameter_sets, sets_of_header, split_units


def video_file(codec: str, container: str) -> BytesIO:
    """Return a file of five frames."""
    file = BytesIO()
    with av.open(file, "w", format=container) as output:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = output.add_stream(codec, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(5):
            image = np.full((64, 64, 3), 40 * number, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(stream.encode(None))
    file.seek(0)
    return file


@pytest.mark.parametrize(("codec", "name"), [("libx264", "h264"), ("libx265", "hevc")])
@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_frames_of_containers_become_byte_streams(codec: str, name: str, container: str) -> None:
    """Each decodes alone with the parameter sets of the header, to as many frames as were put in."""
    with av.open(video_file(codec, container), "r") as source:
        stream = source.streams.video[0]
        header = bytes(stream.codec_context.extradata or b"")
        packets = [byte_stream(name, header, bytes(packet)) for packet in source.demux(stream) if packet.size]
    whole = sets_of_header(name, header) + b"".join(packets)

    with av.open(BytesIO(whole), "r", format=name) as source:
        assert len(list(source.decode(video=0))) == 5
    sets = parameter_sets(name, sets_of_header(name, header) + packets[0])
    assert len(set(sets)) == (2 if name == "h264" else 3)


def test_start_codes_of_either_length_part_units() -> None:
    """And lose the zeros that only fill."""
    assert split_units(b"\0\0\0\1\x67ab\0\0\1\x68c\0\0\0\1\x65d") == [b"\x67ab", b"\x68c", b"\x65d"]


@pytest.mark.parametrize("data", [b"\0\0\0\x09abc", b"\0\0\0\x03abcd"])
def test_a_frame_that_is_cut_off_is_refused(data: bytes) -> None:
    """It would be another frame."""
    with pytest.raises(ValueError, match="expected a unit of"):
        byte_stream("h264", b"\x01\x64\x00\x1f\xff\xe0\x00", data)


def test_a_header_that_ends_early_is_refused() -> None:
    """Whatever kind of header it is."""
    for codec, header in (("h264", b"\x01\x64\x00\x1f\xff\xe1"), ("hevc", b"\x01" + bytes(21) + b"\x02\x20")):
        with pytest.raises(ValueError, match="ends early"):
            sets_of_header(codec, header)
