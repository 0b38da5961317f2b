# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTP packets can be put together again, and reports say when a frame was taken."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.errors import RunError
from vision_line.simulator.rtp_stream import TimedUnit, describe, read_stream, rtp_packets, sender_report, timestamp_of

SPS, PPS = b"\x67\x42\xc0\x1e\xab", b"\x68\xce"
START = b"\x00\x00\x00\x01"


def annex_b(*nals: bytes) -> bytes:
    """Write NAL units with start codes."""
    return b"".join(START + nal for nal in nals)


def reassembled(unit: TimedUnit) -> list[bytes]:
    """Undo RFC 6184's fragmentation."""
    nals: list[bytes] = []
    for payload in unit.payloads:
        if payload[0] & 0x1F != 28:
            nals.append(payload)
        elif payload[1] & 0x80:
            nals.append(bytes(((payload[0] & 0xE0) | (payload[1] & 0x1F),)) + payload[2:])
        else:
            nals[-1] += payload[2:]
    return nals


@given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=5))
def test_fragments_make_the_frames_again(sizes: list[int]) -> None:
    """Whatever their sizes, frames and parameter sets arrive whole, in packets that fit an Ethernet frame."""
    slices = [bytes((0x65 if number == 0 else 0x41,)) + b"\xa5" * size for number, size in enumerate(sizes)]

    stream = read_stream(annex_b(SPS, PPS, *slices))

    assert [nal for unit in stream.units for nal in reassembled(unit)] == [SPS, PPS, *slices]
    assert [unit.idr for unit in stream.units] == [True] + [False] * (len(sizes) - 1)
    assert max(len(payload) for unit in stream.units for payload in unit.payloads) <= 1400


def test_only_the_last_packet_of_a_frame_bears_the_marker() -> None:
    """Sequence numbers go on by one and wrap, the timestamp stays."""
    packets = rtp_packets(TimedUnit((b"a", b"b", b"c"), idr=True), 65535, 1234, 99)

    heads = [struct.unpack("!BBHII", packet[:12]) for packet in packets]

    assert [head[1] for head in heads] == [96, 96, 96 | 0x80]
    assert [head[2] for head in heads] == [65535, 0, 1]
    assert {(head[0], head[3], head[4]) for head in heads} == {(0x80, 1234, 99)}


def test_timestamps_run_on_over_loops_and_wrap() -> None:
    """3600 ticks a frame at 25 fps, modulo 2^32; uneven rates do not drift."""
    assert timestamp_of(2**32 - 3600, 2, 25) == 3600
    assert timestamp_of(0, 30_000, 30) == 90_000_000
    assert timestamp_of(0, 7 * 1000, 7) == 90_000_000


def test_a_sender_report_binds_timestamp_to_utc() -> None:
    """NTP time counts from 1900 with a fraction of 2^32."""
    report = sender_report(7, 1_700_000_000.5, 3600, 10, 2**32 + 5)

    version, kind, words, ssrc, ntp, timestamp, packets, octets = struct.unpack("!BBHIQIII", report[:28])

    assert (version, kind, words, ssrc, timestamp, packets, octets) == (0x80, 200, 6, 7, 3600, 10, 5)
    assert ntp / 2**32 == 1_700_000_000.5 + 2_208_988_800
    assert len(report) == 28 + (struct.unpack("!BBH", report[28:32])[2] + 1) * 4


def test_the_description_names_the_parameter_sets() -> None:
    """A decoder can be set up before the first packet."""
    text = describe(read_stream(annex_b(SPS, PPS, b"\x65\x01")), "127.0.0.1", 25)

    assert "profile-level-id=42C01E;sprop-parameter-sets=Z0LAHqs=,aM4=" in text
    assert "a=rtpmap:96 H264/90000\r\n" in text


@pytest.mark.parametrize("data", [b"", b"no h264", annex_b(SPS, PPS), annex_b(SPS, PPS, b"\x41\x01")])
def test_what_cannot_be_served_is_refused(data: bytes) -> None:
    """A clip must begin with parameter sets and an IDR frame."""
    with pytest.raises(RunError, match="IDR"):
        read_stream(data)
