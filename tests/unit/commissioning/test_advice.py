# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is said about a camera follows from what it sends, and what is measured is what came."""

from __future__ import annotations

import av
import pytest

from vision_line.commissioning.advice import advise, described
from vision_line.config.models import Stream
from vision_line.encoded import EncodedFrame
from vision_line.errors import SourceErrorCode
from vision_line.ingest.probe import Examination, ProbeResult
from vision_line.ingest.stream_meter import SentVideo, StreamMeter

STREAM = Stream.model_validate({"name": "cam", "url": "rtsp://10.0.0.21/1"})
FULL_HD = (1920, 1080)
GOOD = SentVideo(100, 4.0, 4, (1.0, 1.0, 1.0), 0.5, 2_000_000, 0.1)


def examination(sent: SentVideo = GOOD, codec: str = "h264", size_wh: tuple[int, int] | None = FULL_HD) -> Examination:
    """Return an examination in which frames came."""
    return Examination(ProbeResult("cam", codec, size_wh, 25.0, 0.1), sent, None)


def to_do(examined: Examination, stream: Stream = STREAM) -> list[str]:
    """Return what has to be changed."""
    return [advice.text for advice in advise(stream, examined) if not advice.is_good]


def sent(**changes: object) -> SentVideo:
    """Return good video but for `changes`."""
    values = {name: getattr(GOOD, name) for name in SentVideo.__slots__} | changes
    return SentVideo(**values)


@pytest.mark.parametrize("codec", ["h264", "hevc", "mjpeg"])
def test_good_cameras_have_nothing_to_do(codec: str) -> None:
    """Each of the codecs that are read."""
    assert not to_do(examination(codec=codec))


def test_a_camera_is_described_in_a_line() -> None:
    """By what was measured."""
    assert described(examination()) == "H.264, 1920x1080, 24.8 frames/s, 4.0 Mbit/s"
    assert described(examination(SentVideo(), "", None)) == "25.0 frames/s"


@pytest.mark.parametrize(
    ("video", "words"),
    [
        (sent(keyframe_gaps_s=(4.0,)), "up to 4.0 s pass between keyframes"),
        (sent(keyframe_gaps_s=(), open_gap_s=9.6), "no second keyframe came within 10 s"),
        (sent(keyframes=0, keyframe_gaps_s=(), open_gap_s=4.0), "no second keyframe came within 4 s"),
        (sent(keyframe_gaps_s=(1.0, 2.0)), "switch off 'smart codec': keyframes come every 1.0 to 2.0 s"),
        (sent(keyframe_gaps_s=(2.0, 2.0)), "one comes every 2.0 s"),
        (sent(clock_offset_s=-90_000.0), "its clock is 25.0 h behind this machine's"),
        (sent(clock_offset_s=31.0), "its clock is 31 s ahead of this machine's"),
        (sent(clock_offset_s=4e8), "its clock is 4630 days ahead"),
        (sent(size_bytes=20_000_000), "lower the bit rate: 40 Mbit/s"),
        (sent(frames=5), "raise the frame rate, or correct dwell_s: found 1 frames/s"),
        (sent(frames=8), "raise the frame rate: 1.8 frames/s leave no margin; 2.2 would"),
    ],
)
def test_what_has_to_be_changed_is_said_alone(video: SentVideo, words: str) -> None:
    """In one sentence."""
    (text,) = to_do(examination(video))
    assert words in text


def test_motion_jpeg_has_keyframes_only() -> None:
    """So nothing is said about them."""
    assert not [text for text in to_do(examination(sent(keyframe_gaps_s=(9.0,)), "mjpeg")) if "keyframe" in text]


@pytest.mark.parametrize(
    ("size_wh", "words"), [((3840, 2160), "takes 4.0 times the decoding"), ((352, 240), "352x240 is small")]
)
def test_sizes_are_looked_at(size_wh: tuple[int, int], words: str) -> None:
    """Too large costs, too small hides."""
    (text,) = to_do(examination(size_wh=size_wh))
    assert words in text


@pytest.mark.parametrize("code", SourceErrorCode)
def test_each_error_is_said_with_its_code(code: SourceErrorCode) -> None:
    """It can be looked up, whether or not there is a remedy."""
    found = Examination(ProbeResult("cam", code=code, detail="what came"), SentVideo(), None)
    (text,) = to_do(found)

    assert f"{code}: what came" in text


def test_frames_without_a_keyframe_are_no_silence() -> None:
    """The camera refreshes its image bit by bit, and says so by what it sends."""
    lost = ProbeResult("cam", code=SourceErrorCode.TIMEOUT, detail="no frame within 10 s")
    said = to_do(Examination(lost, sent(keyframes=0, keyframe_gaps_s=(), open_gap_s=10.0, seconds=10.0), None))

    assert said[0] == "no keyframe came in 10 s (100 frames did)"
    assert "intra refresh" in said[1]


def encoded(at_s: float, *, keyframe: bool, camera_utc: float | None = None) -> EncodedFrame:
    """Return a frame of 100 bytes."""
    packet = av.Packet(b"x" * 100)
    return EncodedFrame(packet, None, keyframe, at_s + 50, 1000.0 + at_s, camera_utc, pts_s=at_s)


def test_the_meter_measures_by_the_cameras_time() -> None:
    """Arrivals come in bursts; a flush is no frame; the frame that came soonest tells the clock."""
    meter = StreamMeter()
    for number in range(50):
        late_s = 0.0 if number == 30 else 0.3
        meter.saw(encoded(number / 25, keyframe=number % 25 == 0, camera_utc=1000.0 + number / 25 + 7 - late_s))
    meter.saw(EncodedFrame(None, None, keyframe=False, arrived_s=0.0, arrived_utc=0.0))

    video = meter.sent
    assert (video.frames, video.keyframes, video.size_bytes) == (50, 2, 5000)
    assert video.fps == pytest.approx(25.0)
    assert video.keyframe_gaps_s == pytest.approx((1.0,))
    assert video.open_gap_s == pytest.approx(0.96)
    assert video.clock_offset_s == pytest.approx(7.0)


def test_nothing_came() -> None:
    """And nothing is said of it."""
    assert StreamMeter().sent == SentVideo()
    assert SentVideo().fps is None
    assert SentVideo().megabits_per_s is None


def test_a_camera_is_watched_until_all_is_known() -> None:
    """Three whole intervals, and six seconds for a clock."""
    assert GOOD.is_telling
    assert not sent(clock_offset_s=None).is_telling
    assert sent(clock_offset_s=None, seconds=6.0).is_telling
    assert not sent(keyframe_gaps_s=(1.0, 1.0)).is_telling
    assert not sent(seconds=2.0).is_telling
