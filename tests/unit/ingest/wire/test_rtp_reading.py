# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTP and RTCP: every gap is seen, order is kept, and no packet makes anything fail."""

from __future__ import annotations

import struct
from collections.abc import Set as AbstractSet
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vision_line.ingest.wire.payloads import PIECES
from vision_line.ingest.wire.rtp import (
    HELD_S,
    MAX_HELD,
    Reorder,
    RtpPacket,
    RtpTimeline,
    Sequence,
    parse_rtp,
    read_reports,
    receiver_report,
)
from vision_line.ingest.wire.rtp_jpeg import JpegFrame, JpegFrames


def packet(sequence: int, source: int = 1, payload: bytes = b"") -> RtpPacket:
    """Return a packet with this number."""
    return RtpPacket(96, False, sequence & 0xFFFF, 0, source, memoryview(payload))


def test_a_packet_is_read_with_all_that_may_stand_in_it() -> None:
    """CSRCs, an extension and padding are skipped."""
    head = struct.pack(">BBHII", 0x80 | 0x30 | 2, 0x80 | 96, 7, 8, 9)
    data = head + b"csrcCSRC" + struct.pack(">HH", 1, 1) + b"ext!" + b"payload" + b"\x00\x00\x03"
    found = parse_rtp(memoryview(data))
    assert found is not None
    assert (found.payload_type, found.last, found.sequence, found.timestamp, found.source) == (96, True, 7, 8, 9)
    assert bytes(found.payload) == b"payload"


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_none(data: bytes) -> None:
    """And reports, and pieces of frames, and JPEG."""
    view = memoryview(data)
    parse_rtp(view)
    read_reports(view)
    for piece_of in PIECES.values():
        piece_of(view)
    JpegFrames().push(view, 0, last=True, missing=False)


@given(st.integers(0, 0xFFFF), st.lists(st.booleans(), min_size=1, max_size=60))
def test_every_gap_is_seen(first: int, came: list[bool]) -> None:
    """Also where the numbers wrap."""
    sequence = Sequence()
    sequence.take(packet(first - 1))
    lost = False
    for index, comes in enumerate(came):
        if comes:
            assert sequence.take(packet(first + index)) is lost
        lost = not comes


@given(st.integers(0, 0xFFFF))
def test_what_comes_twice_or_late_is_not_used(first: int) -> None:
    """It is no gap either."""
    sequence = Sequence()
    assert [sequence.take(packet(first + n)) for n in (0, 1, 1, 0, 2)] == [False, False, None, None, False]


def test_another_source_or_numbering_is_a_gap_and_then_followed() -> None:
    """A camera that starts its encoder again is not lost for good."""
    sequence = Sequence()
    sequence.take(packet(5))
    assert [sequence.take(packet(n, source=2)) for n in (900, 901)] == [True, False]
    assert [sequence.take(packet(n, source=2)) for n in (40_000, 40_001)] == [True, False]
    back = [sequence.take(packet(39_900 + n, source=2)) for n in range(40)]
    assert back[-1] is False
    assert back.count(True) == 1


@given(st.permutations(range(12)), st.integers(0, 0xFFFF))
def test_datagrams_come_out_in_order(order: list[int], first: int) -> None:
    """Whatever overtook what, once the first one is known."""
    reorder = Reorder()
    out = reorder.push(packet(first - 1), 0.0)
    for number in order:
        out += reorder.push(packet(first + number), 0.0)
    assert [found.sequence for found in out] == [(first + n) & 0xFFFF for n in range(-1, 12)]


def test_what_does_not_come_is_given_up() -> None:
    """After a while, or when too many wait: memory has a bound."""
    reorder = Reorder()
    reorder.push(packet(0), 0.0)
    assert reorder.push(packet(2), 1.0) == []
    assert reorder.overdue(1.0 + HELD_S / 2) == []
    assert [found.sequence for found in reorder.overdue(1.0 + 2 * HELD_S)] == [2]
    out = [found for n in range(4, MAX_HELD + 10) for found in reorder.push(packet(n), 2.0)]
    assert len(out) >= MAX_HELD


@given(st.lists(st.integers(-(2**30), 2**30), max_size=40), st.integers(0, 2**32 - 1))
def test_timestamps_are_unwrapped(steps: list[int], first: int) -> None:
    """In both directions."""
    timeline = RtpTimeline()
    assert timeline.ticks(first) == 0
    at = 0
    for step in steps:
        at += step
        assert timeline.ticks((first + at) & 0xFFFFFFFF) == at


def test_a_sender_report_gives_the_cameras_time() -> None:
    """Also for timestamps before it, and over a wrap; a camera without a clock says 0."""
    body = struct.pack(">IIIIII", 7, 2_208_988_800 + 1000, 1 << 31, 0xFFFFFFF0, 1, 2)
    report, bye = read_reports(memoryview(struct.pack(">BBH", 0x80, 200, 6) + body))
    assert report is not None
    assert not bye
    assert report.utc_of(0xFFFFFFF0, 90000) == pytest.approx(1000.5)
    assert report.utc_of(0xFFFFFFF0 + 90000 & 0xFFFFFFFF, 90000) == pytest.approx(1001.5)
    assert report.utc_of(0xFFFFFFF0 - 45000, 90000) == pytest.approx(1000.0)
    none, _ = read_reports(memoryview(struct.pack(">BBH", 0x80, 200, 6) + bytes(24)))
    assert none is not None
    assert none.utc_of(5, 90000) is None


def test_goodbye_is_heard() -> None:
    """Behind another report in the same packet."""
    empty = struct.pack(">BBHI", 0x80, 201, 1, 7)
    assert read_reports(memoryview(empty + struct.pack(">BBHI", 0x81, 203, 1, 7))) == (None, True)


def test_our_report_is_well_formed() -> None:
    """Its parts are as long as they say."""
    sequence = Sequence()
    sequence.take(packet(5))
    data = receiver_report(1, sequence, None, 0.0)
    sizes, at = [], 0
    while at < len(data):
        sizes.append(4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big"))
        at += sizes[-1]
    assert (at, len(sizes)) == (len(data), 2)


def test_h264_and_h265_pieces() -> None:
    """Single units, aggregates and fragments, each with whether a unit ends with it."""
    h264, h265 = PIECES["h264"], PIECES["hevc"]
    start = b"\x00\x00\x00\x01"
    assert h264(memoryview(b"\x65ab")) == (start + b"\x65ab", True)
    assert h264(memoryview(b"\x78\x00\x02\x67a\x00\x03\x68bc\x00\x09x")) == (start + b"\x67a" + start + b"\x68bc", True)
    assert h264(memoryview(b"\x7c\x85ab")) == (start + b"\x65ab", False)
    assert h264(memoryview(b"\x7c\xc5ab")) == (start + b"\x65ab", True)
    assert h264(memoryview(b"\x7c\x05ab")) == (b"ab", False)
    assert h264(memoryview(b"\x7c\x45ab")) == (b"ab", True)
    assert h265(memoryview(b"\x26\x01ab")) == (start + b"\x26\x01ab", True)
    assert h265(memoryview(b"\x60\x01\x00\x03\x40\x01a\x00\x03\x42\x01b")) == (
        start + b"\x40\x01a" + start + b"\x42\x01b",
        True,
    )
    assert h265(memoryview(b"\x62\x01\x93ab")) == (start + b"\x26\x01ab", False)
    assert h265(memoryview(b"\x62\x01\x13ab")) == (b"ab", False)
    assert h265(memoryview(b"\x62\x01\x53ab")) == (b"ab", True)
    for piece_of, junk in (
        (h264, b"\x78\x00\x09x"),
        (h264, b"\x1eab"),
        (h265, b"\x64\x01ab"),
        (h265, b"\x60\x01\x00\x09x"),
    ):
        assert piece_of(memoryview(junk)) == (b"", False)


def jpeg_payloads(quality: int, *, with_tables: bool) -> tuple[list[bytes], Any]:
    """Return a frame's RTP payloads, and the frame as OpenCV decodes the JPEG that they were made of."""
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    frame = np.dstack([np.tile(ramp, (48, 1)), np.tile(ramp[::-1], (48, 1)), np.full((48, 64), 90, np.uint8)])
    ok, encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    data = encoded.tobytes()
    scan = data.index(b"\xff\xda")
    body = data[scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big") : data.rindex(b"\xff\xd9")]
    tables = b"".join(part[3:67] for part in data.split(b"\xff\xdb")[1:]) if with_tables else b""
    named = 255 if with_tables else quality
    sent = [body[at : at + 300] for at in range(0, len(body), 300)]
    at, payloads = 0, []
    for index, chunk in enumerate(sent):
        extra = struct.pack(">BBH", 0, 0, len(tables)) + tables if with_tables and index == 0 else b""
        payloads.append(bytes([0]) + at.to_bytes(3, "big") + bytes([1, named, 64 // 8, 48 // 8]) + extra + chunk)
        at += len(chunk)
    return payloads, cv2.imdecode(encoded, cv2.IMREAD_COLOR)


def received(payloads: list[bytes], lost: AbstractSet[int] = frozenset()) -> list[JpegFrame]:
    """Return the frames made of what came."""
    frames, out, missing = JpegFrames(), [], False
    for index, payload in enumerate(payloads):
        if index not in lost:
            out += frames.push(memoryview(payload), 1, last=index == len(payloads) - 1, missing=missing)
        missing = index in lost
    return out


@pytest.mark.parametrize("with_tables", [True, False])
@pytest.mark.parametrize("quality", [30, 50, 90])
def test_jpeg_comes_out_as_it_was(quality: int, with_tables: bool) -> None:
    """With tables of its own, and with those that RFC 2435 computes, which are those of every JPEG library."""
    payloads, expected = jpeg_payloads(quality, with_tables=with_tables)
    (frame,) = received(payloads)
    assert not frame.damaged
    decoded = cv2.imdecode(np.frombuffer(frame.data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, expected)


@given(st.sets(st.integers(0, 20), min_size=1))
def test_a_jpeg_with_a_gap_is_damaged(lost: set[int]) -> None:
    """Whatever is missing, its beginning and its end included."""
    payloads, _ = jpeg_payloads(95, with_tables=True)
    assume(any(index < len(payloads) for index in lost))
    assert all(frame.damaged for frame in received(payloads, lost))
