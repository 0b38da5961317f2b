# SPDX-License-Identifier: AGPL-3.0-or-later
"""A camera's frames as segments: libavformat reads back every frame, the moment it is written."""

from __future__ import annotations

from io import BytesIO

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.live_video import EncodedShade, encoded_shades, feed_frame, stream_header

from vision_line.desk.live.live_updates import VideoFrame, VideoStart
from vision_line.desk.live.mp4_fragments import SampleTimes, fragment
from vision_line.desk.live.packager import Packager, initialization_segment
from vision_line.records.clips.nal_units import split_units

SHADES = encoded_shades(count=12)
INIT = initialization_segment("h264", SHADES[0].data)


def packaged(codec: str, shades: list[EncodedShade]) -> tuple[list[VideoStart], list[VideoFrame]]:
    packager, header = Packager("cam01"), stream_header(codec)
    updates = [update for n, shade in enumerate(shades) for update in packager.take(header, feed_frame(n, shade))]
    starts = [update for update in updates if isinstance(update, VideoStart)]
    return starts, [update for update in updates if isinstance(update, VideoFrame)]


def levels(data: bytes) -> list[int]:
    """Return the mean shade of each frame in a file."""
    with av.open(BytesIO(data), "r") as container:
        return [round(frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]


@pytest.mark.parametrize(("codec", "name"), [("h264", "avc1.42C01E"), ("hevc", "hvc1.1.6.L63.90")])
def test_what_was_packaged_plays_frame_by_frame(codec: str, name: str) -> None:
    """Every prefix does: no frame waits for the one behind it."""
    shades = encoded_shades(codec, count=7)
    (start,), frames = packaged(codec, shades)
    assert start.codec == name
    assert start.segment is not None
    file = start.segment
    for number, frame in enumerate(frames, 1):
        file += frame.segment
        found = levels(file)
        assert len(found) == number
        assert abs(found[-1] - (number - 1) * 20) < 4
        assert frame.keyframe == ((number - 1) % 5 == 0)


def test_times_are_those_of_arrival() -> None:
    """They name the frame: what the browser calls its media time."""
    _, frames = packaged("h264", SHADES)
    assert [frame.media_s for frame in frames] == pytest.approx([n / 25 for n in range(12)], abs=1e-5)
    assert [frame.times for frame in frames] == [(100 + n / 25, n / 25) for n in range(12)]


def test_frames_that_are_shown_in_another_order() -> None:
    """Their order is known once a time goes back; from the next keyframe on each is shown in its turn."""
    shades = encoded_shades(count=30, gop=10, b_frames=2)
    assert [shade.pts for shade in shades] != sorted(shade.pts for shade in shades)
    starts, frames = packaged("h264", shades)
    assert len(starts) == 2
    begins = max(n for n, frame in enumerate(frames) if frame.media_s < 0.01)
    assert starts[1].segment is not None
    data = starts[1].segment + b"".join(frame.segment for frame in frames[begins:])
    with av.open(BytesIO(data), "r") as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert sorted(times) != times
    found = levels(data)
    assert found == sorted(found, key=found.index)
    assert len(found) == len(frames) - begins
    by_time = sorted(
        zip([frame.media_s for frame in frames[begins:]], shades[begins:], strict=True), key=lambda pair: pair[0]
    )
    assert [shade.pts for _, shade in by_time] == sorted(shade.pts for shade in shades[begins:])


def test_another_size_begins_anew() -> None:
    """Also where the connection is the same: the keyframe's parameter sets are others."""
    starts, frames = packaged("h264", [*SHADES[:5], *encoded_shades(count=3, size=(320, 180))])
    assert len(starts) == 2
    assert starts[0].segment != starts[1].segment
    assert frames[5].media_s == 0


def test_another_connection_begins_anew() -> None:
    packager = Packager("cam01")
    first = [*packager.take(stream_header(), feed_frame(0, SHADES[0]))]
    again = [*packager.take(stream_header(connection=2), feed_frame(1, SHADES[0]))]
    assert [type(update) for update in first + again] == [VideoStart, VideoFrame] * 2


def test_what_refers_to_a_damaged_frame_is_left_out() -> None:
    """Up to the next keyframe, which needs no new start."""
    packager, header = Packager("cam01"), stream_header()
    taken = [[*packager.take(header, feed_frame(n, shade, intact=n != 2))] for n, shade in enumerate(SHADES[:8])]
    assert [len(updates) for updates in taken] == [2, 1, 0, 0, 0, 1, 1, 1]


def test_nothing_before_a_keyframe() -> None:
    packager = Packager("cam01")
    assert not [*packager.take(stream_header(), feed_frame(1, SHADES[1]))]


def test_what_no_browser_plays_is_said() -> None:
    """Once, without a segment: the page shows tiles then."""
    packager, header = Packager("cam01"), stream_header("mjpeg")
    shades = encoded_shades("mjpeg", count=2)
    updates = [update for n, shade in enumerate(shades) for update in packager.take(header, feed_frame(n, shade))]
    assert updates == [VideoStart("cam01", "mjpeg", None)]


def test_nonsense_is_left_out() -> None:
    packager = Packager("cam01")
    nonsense = EncodedShade(b"\0\0\0\1\x67\x42\0\0\1\x65", keyframe=True, pts=0)
    assert not [
        update for update in packager.take(stream_header(), feed_frame(0, nonsense)) if isinstance(update, VideoFrame)
    ]


@given(
    st.lists(st.tuples(st.integers(1, 90_000), st.integers(0, 5_000), st.integers(1, 90_000)), min_size=1, max_size=12),
    st.integers(0, 2**40),
)
def test_any_times_are_read_back(steps: list[tuple[int, int, int]], begins: int) -> None:
    """Also beyond 32 bits: a page that is open for a day."""
    dts, file, expected = begins, INIT, []
    for number, ((step, ahead, stays), shade) in enumerate(zip(steps, SHADES, strict=False), 1):
        dts += step
        units = split_units(shade.data)
        file += fragment(number, SampleTimes(dts + ahead, dts, stays), units, keyframe=shade.keyframe)
        data = b"".join(len(unit).to_bytes(4) + unit for unit in units)
        expected.append((dts, dts + ahead, data, shade.keyframe))
    with av.open(BytesIO(file), "r") as container:
        read = [packet for packet in container.demux(video=0) if packet.size]
        assert [(packet.dts, packet.pts, bytes(packet), packet.is_keyframe) for packet in read] == expected
