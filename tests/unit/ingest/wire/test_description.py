# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an SDP means, and where its URLs lead."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.ingest.wire.address import parse_address
from vision_line.ingest.wire.description import VideoTrack, parse_description

BASE = "rtsp://cam:554/live/"


def sdp(*lines: str) -> bytes:
    """Return an SDP with these lines at its end."""
    return "\r\n".join(["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=cam", "t=0 0", *lines]).encode()


def video_of(*lines: str) -> VideoTrack:
    """Return the video track of an SDP with these lines."""
    video = parse_description(sdp(*lines), BASE).video
    assert video is not None
    return video


def test_the_first_video_track_is_taken() -> None:
    """Audio before it and a second stream behind it are not."""
    track = video_of(
        "m=audio 0 RTP/AVP 8",
        "a=control:track0",
        "m=video 0 RTP/AVP 97",
        "a=rtpmap:97 h264/90000",
        "a=fmtp:97 packetization-mode=1; sprop-parameter-sets=Z0IA, aM4=,!!",
        "a=control:track1",
        "m=video 0 RTP/AVP 98",
        "a=rtpmap:98 H265/90000",
    )
    assert track == VideoTrack("h264", 97, 90000, BASE + "track1", (base64.b64decode("Z0IA"), base64.b64decode("aM4=")))


def test_h265_and_jpeg() -> None:
    """Parameter sets come in the order of decoding; JPEG needs no map."""
    fmtp = "a=fmtp:96 sprop-sps=Ag==;sprop-vps=AQ==;sprop-pps=Aw=="
    track = video_of("m=video 0 RTP/AVP 96", "a=rtpmap:96 H265/90000", fmtp)
    assert (track.codec, track.parameter_sets) == ("hevc", (b"\x01", b"\x02", b"\x03"))
    assert video_of("m=video 0 RTP/AVP 26").codec == "mjpeg"


@pytest.mark.parametrize(
    ("session", "control", "aggregate_url", "url"),
    [
        ("*", "trackID=1", BASE, "rtsp://cam:554/live/trackID=1"),
        ("", "*", BASE, BASE),
        ("rtsp://inside/live", "rtsp://inside/live/t1", "rtsp://inside/live", "rtsp://inside/live/t1"),
        ("*", "/t1?a=b", BASE, "rtsp://cam:554/live/t1?a=b"),
    ],
)
def test_control_urls(session: str, control: str, aggregate_url: str, url: str) -> None:
    """Relative ones are appended, absolute ones asked for as they are, on the connection that is there."""
    found = parse_description(sdp(f"a=control:{session}", "m=video 0 RTP/AVP 26", f"a=control:{control}"), BASE)
    assert found.video is not None
    assert (found.aggregate_url, found.video.control_url) == (aggregate_url, url)


def test_no_video_and_foreign_codecs_are_distinguished() -> None:
    """For two different errors."""
    assert parse_description(sdp("m=audio 0 RTP/AVP 0"), BASE).video is None
    track = video_of("m=video 0 RTP/AVP 96", "a=rtpmap:96 VP9/90000")
    assert (track.codec, track.is_taken) == ("VP9", False)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("H264/90000\r\na=fmtp:96 packetization-mode=2", "H264 in interleaved mode"),
        ("H265/90000\r\na=fmtp:96 sprop-max-don-diff=1", "H265 in interleaved mode"),
    ],
)
def test_interleaved_modes_are_not_taken_for_others(line: str, says: str) -> None:
    """Their payloads have other fields."""
    track = video_of("m=video 0 RTP/AVP 96", f"a=rtpmap:96 {line}")
    assert (track.codec, track.is_taken) == (says, False)


@given(st.binary(max_size=600))
def test_any_bytes_are_a_description(body: bytes) -> None:
    """Of nothing, mostly."""
    parse_description(body, BASE)
    parse_description(sdp("m=video 0 RTP/AVP 96") + b"\r\na=fmtp:96 sprop-parameter-sets=" + body, BASE)


@pytest.mark.parametrize(
    ("url", "shown", "credentials"),
    [
        ("rtsp://u:p%40%2F@Host/a b?x=1#y", "rtsp://host:554/a%20b?x=1#y", ("u", "p@/")),
        ("RTSPS://host", "rtsps://host:322", None),
        ("rtsp://[::1]:8554/x", "rtsp://[::1]:8554/x", None),
        ("rtsp://u@host?x", "rtsp://host:554/?x", ("u", "")),
    ],
)
def test_addresses(url: str, shown: str, credentials: tuple[str, str] | None) -> None:
    """Name and password are apart from what is sent and shown."""
    address = parse_address(url)
    found = address.credentials
    assert address.url == shown
    assert (None if found is None else (found.user, found.password)) == credentials
    assert "p@/" not in repr(address)


@pytest.mark.parametrize("url", ["", "http://h/", "rtsp://", "/path", "rtsp://h:99999/", "rtsp://[::1/"])
def test_what_is_no_address(url: str) -> None:
    """Is refused without being quoted."""
    with pytest.raises(ValueError, match="URL"):
        parse_address(url)


@pytest.mark.parametrize(
    ("target", "same"),
    [
        ("rtsp://CAM/other", True),
        ("rtsp://x:y@cam:554/other", True),
        ("rtsp://cam:555/live", False),
        ("rtsps://cam:554/live", False),
        ("rtsp://cam.evil/live", False),
    ],
)
def test_who_is_the_same_camera(target: str, same: bool) -> None:
    """Scheme, host and port must agree; name and password are never taken from elsewhere."""
    address = parse_address("rtsp://u:p@cam/live")
    other = parse_address(target)
    assert address.is_same_camera(other) is same
    if same:
        went = address.redirected(other)
        assert (went.url, went.user, went.password) == ("rtsp://cam:554/other", "u", "p")
