# SPDX-License-Identifier: AGPL-3.0-or-later
"""Cameras out of a recording: packets that were cut beforehand arrive as a camera's, by the product's own reading."""

from __future__ import annotations

import pytest
from benchmarks.recorded_cameras import PreparedFrame, make_players

from vision_line.ingest.wire.connection import Framer
from vision_line.ingest.wire.rtp import RtpPacket, parse_rtp
from vision_line.simulator.rtp_stream import TimedUnit, VideoStream

PAYLOADS = (b"a" * 1400, b"b" * 1400, b"c" * 37)


def packets_in(data: bytes) -> list[RtpPacket]:
    framer = Framer()
    framer.space()[: len(data)] = data
    framer.filled(len(data))
    return [packet for item in framer.take_run(0) if (packet := parse_rtp(item)) is not None]


def test_a_frame_is_numbered_as_it_is_sent() -> None:
    packets = packets_in(PreparedFrame(TimedUnit(PAYLOADS, idr=True)).numbered(65_535, 90_000, 7))

    assert [packet.sequence for packet in packets] == [65_535, 0, 1]
    assert [packet.last for packet in packets] == [False, False, True]
    assert {(packet.timestamp, packet.source) for packet in packets} == {(90_000, 7)}
    assert tuple(bytes(packet.payload) for packet in packets) == PAYLOADS


def test_what_was_sent_does_not_change_with_the_next_numbers() -> None:
    frame = PreparedFrame(TimedUnit(PAYLOADS, idr=False))
    first = frame.numbered(1, 1, 1)
    frame.numbered(2, 2, 2)

    assert packets_in(first)[0].sequence == 1


@pytest.mark.parametrize(("cameras", "places"), [(1, [0]), (4, [0, 2, 5, 7])])
def test_cameras_begin_at_other_places_of_the_recording(cameras: int, places: list[int]) -> None:
    units = tuple(TimedUnit((b"x",), idr=n % 5 == 0) for n in range(10))
    players = make_players(VideoStream(units, b"sps", b"pps"), 25, cameras)

    assert [player.first for player in players] == places
    assert len({player.camera.ssrc for player in players}) == cameras
