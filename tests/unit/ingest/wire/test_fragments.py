# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fragments that are joined give what each of them gives alone: the same frames, gaps and damage."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.ingest.access_units import AccessUnit, AccessUnits
from vision_line.ingest.nal import NAL_CODECS
from vision_line.ingest.wire import rtp
from vision_line.ingest.wire.fragments import FRAGMENTS
from vision_line.ingest.wire.payloads import PIECES
from vision_line.ingest.wire.rtp import RtpPacket, parse_run

Parse = Callable[[Sequence[memoryview]], list[RtpPacket]]

#: Payload headers and NAL unit kinds: whole NAL units, fragments, and what is neither.
HEADERS = {
    "h264": [b"\x7c", b"\x5c", b"\x7c", b"\x41", b"\x65", b"\x06", b"\x18"],
    "hevc": [b"\x62\x01", b"\x62\x01", b"\x62\x02", b"\x02\x01", b"\x26\x01", b"\x60\x01"],
}
FRAGMENT_HEADERS = [0x01, 0x01, 0x01, 0x05, 0x81, 0x85, 0x41, 0x45, 0x13, 0x93, 0x21]
BODIES = [b"", b"\x80", b"\x80body", b"x", bytes(40)]

steps = st.sampled_from([1] * 12 + [2, 3, 0, -1, -2, 0xFFF0])
marks = st.sampled_from([False, False, False, True])


@st.composite
def packets(draw: st.DrawFn, codec: str) -> list[bytes]:
    """Draw RTP packets as a camera may send them, and as none should."""
    number, timestamp, out = draw(st.sampled_from([0, 7, 0xFFF8])), 0, []
    for _ in range(draw(st.integers(1, 40))):
        number = (number + draw(steps)) & 0xFFFF
        flags = draw(st.sampled_from([0x80] * 8 + [0x90, 0xA0, 0x81, 0x40]))
        kind = draw(st.sampled_from([96] * 8 + [97])) | (0x80 if (marked := draw(marks)) else 0)
        header = struct.pack(">BBHII", flags, kind, number, timestamp, draw(st.sampled_from([5] * 9 + [6])))
        payload = draw(st.sampled_from(HEADERS[codec])) + bytes([draw(st.sampled_from(FRAGMENT_HEADERS))])
        out.append((header + payload + draw(st.sampled_from(BODIES)))[: draw(st.sampled_from([99] * 9 + [3, 13]))])
        timestamp += 3600 if marked or draw(st.integers(0, 9)) == 0 else 0
    return out


def used(packets: list[RtpPacket], sequence: rtp.Sequence, parse: Parse) -> Iterator[tuple[RtpPacket, bool]]:
    """Yield the packets in their turn, as a source does."""
    for packet in packets:
        missing = sequence.take(packet)
        if missing is None:
            yield from used(parse(packet.more), sequence, parse)
        else:
            yield packet, missing


def frames(codec: str, runs: list[list[memoryview]], parse: Parse) -> tuple[list[AccessUnit], int, int]:
    """Return the frames in the runs, the newest number and the gaps."""
    units, sequence, out = AccessUnits(NAL_CODECS[codec]), rtp.Sequence(), list[AccessUnit]()
    for run in runs:
        for packet, missing in used(parse(run), sequence, parse):
            if missing:
                units.lose()
            more = bool(packet.more)
            piece, ends = PIECES[codec](packet.payload)
            out += units.push(piece, packet.timestamp, ends=ends, last=packet.last and not more)
            if more:
                piece, ends = FRAGMENTS[codec].rest(packet)
                out += units.push(piece, packet.timestamp, ends=ends, last=packet.last)
    return [*out, *units.flush()], sequence.newest, sequence.lost


@pytest.mark.parametrize("codec", FRAGMENTS)
@given(st.data())
def test_joined_fragments_give_the_same_frames(codec: str, data: st.DataObject) -> None:
    """Whatever is sent, in whatever order, however reads cut it."""
    sent = [memoryview(packet) for packet in data.draw(packets(codec))]
    cuts = sorted({0, len(sent), *data.draw(st.lists(st.integers(0, len(sent)), max_size=5))})
    runs = [sent[begin:end] for begin, end in pairwise(cuts)]
    assert frames(codec, runs, FRAGMENTS[codec].joined) == frames(codec, runs, parse_run)


@pytest.mark.parametrize("codec", FRAGMENTS)
@given(st.data())
def test_nothing_is_joined_but_what_goes_on(codec: str, data: st.DataObject) -> None:
    """Each packet is there once and in its place; what is joined follows in number and has its unit's time."""
    sent = [memoryview(packet) for packet in data.draw(packets(codec))]
    found = FRAGMENTS[codec].joined(sent)
    alone = parse_run(sent)
    assert [packet for first in found for packet in singles(first)] == alone
    for first in found:
        for index, packet in enumerate(singles(first)[1:], 1):
            assert packet.sequence == first.sequence + index
            assert (packet.timestamp, packet.source) == (first.timestamp, first.source)
            assert packet.payload_type == first.payload_type


def singles(packet: RtpPacket) -> list[RtpPacket]:
    """Return a packet and those that were joined to it, each as it was sent."""
    first = RtpPacket(
        packet.payload_type,
        packet.last and not packet.more,
        packet.sequence,
        packet.timestamp,
        source=packet.source,
        payload=packet.payload,
    )
    return [first, *parse_run(packet.more)]


@pytest.mark.parametrize(("codec", "first"), [("h264", b"\x7c\x85"), ("hevc", b"\x62\x01\x93")])
def test_a_frame_in_fragments_is_one_packet(codec: str, first: bytes) -> None:
    """The common way of cameras: what costs for every packet costs once."""
    kind = first[-1] & 0x3F
    headers = [first, first[:-1] + bytes([kind]), first[:-1] + bytes([kind]), first[:-1] + bytes([kind | 0x40])]
    sent = [
        memoryview(struct.pack(">BBHII", 0x80, 96 | (0x80 if n == 3 else 0), n, 9, 5) + header + b"body%d" % n)
        for n, header in enumerate(headers)
    ]
    (packet,) = FRAGMENTS[codec].joined(sent)
    assert packet.last
    assert packet.payload == sent[0][12:]
    assert FRAGMENTS[codec].rest(packet) == (b"body1body2body3", True)
    (packet,) = FRAGMENTS[codec].joined(sent[:-1])
    assert FRAGMENTS[codec].rest(packet) == (b"body1body2", False)


@pytest.mark.parametrize(("codec", "fragment"), [("h264", b"\x5c"), ("hevc", b"\x62\x01")])
@pytest.mark.parametrize("left_out", [0, 3])
def test_a_fragment_left_out_before_numbering_is_missed(codec: str, fragment: bytes, left_out: int) -> None:
    """The numbers go on, and nothing but the fragments' own bits says that a beginning or an end is missing."""
    sent = list[memoryview]()
    for time in range(3):
        for n in range(4):
            if time == 1 and n == left_out:
                continue
            header = fragment + bytes([0x01 | (0x80 if n == 0 else 0) | (0x40 if n == 3 else 0)])
            packet = struct.pack(">BBHII", 0x80, 96 | (0x80 if n == 3 else 0), len(sent), time, 5)
            sent.append(memoryview(packet + header + b"\x80body"))
    found, _, gaps = frames(codec, [sent], FRAGMENTS[codec].joined)
    assert gaps == 0
    assert [(unit.pts, unit.damaged) for unit in found][:2] == [(0, False), (1, True)]
