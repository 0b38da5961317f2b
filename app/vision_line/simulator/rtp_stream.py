# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTP and RTCP bytes for H.264: access units cut into packets once, headers added as they are sent."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from vision_line.errors import RunError

CLOCK_HZ = 90_000
PAYLOAD_TYPE = 96
_MOST_PAYLOAD = 1400
_FU_A = 28
_IDR, _SPS, _PPS = 5, 7, 8
_SLICES = frozenset({1, _IDR})
# Seconds from the NTP epoch (1900) to the Unix epoch (1970), RFC 5905.
_NTP_EPOCH_S = 2_208_988_800
_START_CODE = b"\x00\x00\x01"


@dataclass(frozen=True, slots=True)
class TimedUnit:
    """One frame, cut into RTP payloads (RFC 6184, FU-A); a decoder can start at an `idr` one."""

    payloads: tuple[bytes, ...]
    idr: bool


@dataclass(frozen=True, slots=True)
class VideoStream:
    """A clip ready to be sent: its frames and the parameter sets that its description names."""

    units: tuple[TimedUnit, ...]
    sps: bytes
    pps: bytes


def read_stream(data: bytes) -> VideoStream:
    """Cut an Annex B stream that has one slice a frame.

    Raises:
        RunError: no frame or no parameter sets in it, or it does not begin with an IDR frame.
    """
    units: list[TimedUnit] = []
    sets: dict[int, bytes] = {}
    pending: list[bytes] = []
    for nal in _split_nals(data):
        kind = nal[0] & 0x1F
        pending.append(nal)
        if kind in (_SPS, _PPS):
            sets.setdefault(kind, nal)
        if kind in _SLICES:
            payloads = tuple(payload for nal in pending for payload in _packetize(nal))
            units.append(TimedUnit(payloads, kind == _IDR))
            pending = []
    if not units or not units[0].idr or len(sets) < 2:
        raise RunError("simulator: a clip is not H.264 that begins with parameter sets and an IDR frame")
    return VideoStream(tuple(units), sets[_SPS], sets[_PPS])


def _split_nals(data: bytes) -> Iterator[bytes]:
    # No NAL unit ends with a zero byte (H.264, 7.4.1): those belong to the start code.
    for piece in data.split(_START_CODE):
        if nal := piece.rstrip(b"\x00"):
            yield nal


def _packetize(nal: bytes) -> Iterator[bytes]:
    """Give one NAL unit as it is, or as FU-A fragments where it is too long for one packet."""
    if len(nal) <= _MOST_PAYLOAD:
        yield nal
        return
    indicator, kind = (nal[0] & 0xE0) | _FU_A, nal[0] & 0x1F
    step = _MOST_PAYLOAD - 2
    for at in range(1, len(nal), step):
        start = 0x80 if at == 1 else 0
        end = 0x40 if at + step >= len(nal) else 0
        yield bytes((indicator, start | end | kind)) + nal[at : at + step]


def rtp_packets(unit: TimedUnit, sequence: int, timestamp: int, ssrc: int) -> list[bytes]:
    """Put RTP headers (RFC 3550) on a frame; the last packet bears the marker."""
    last = len(unit.payloads) - 1
    return [
        struct.pack("!BBHII", 0x80, PAYLOAD_TYPE | (0x80 if i == last else 0), (sequence + i) & 0xFFFF, timestamp, ssrc)
        + payload
        for i, payload in enumerate(unit.payloads)
    ]


def sender_report(ssrc: int, utc_s: float, timestamp: int, packets: int, octets: int) -> bytes:
    """Build an RTCP sender report: the frame of `timestamp` was taken at `utc_s` (Unix seconds)."""
    ntp = int((utc_s + _NTP_EPOCH_S) * (1 << 32))
    counts = packets & 0xFFFFFFFF, octets & 0xFFFFFFFF
    report = struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, ntp, timestamp, *counts)
    # A compound packet must name its source (RFC 3550, 6.1): SDES with an empty-domain CNAME.
    return report + struct.pack("!BBHIBB8sH", 0x81, 202, 4, ssrc, 1, 8, b"visline1", 0)


def timestamp_of(base: int, frame: int, fps: int) -> int:
    """Give the RTP timestamp of the camera's frame number `frame`, counted over all loops."""
    return (base + int(Fraction(frame * CLOCK_HZ, fps))) & 0xFFFFFFFF


def describe(stream: VideoStream, host: str, fps: int) -> str:
    """Write the session description (SDP, RFC 4566) of a camera."""
    sets = ",".join(base64.b64encode(nal).decode() for nal in (stream.sps, stream.pps))
    profile = stream.sps[1:4].hex().upper()
    lines = (
        "v=0",
        f"o=- 1 1 IN IP4 {host}",
        "s=vision-line simulator",
        f"c=IN IP4 {host}",
        "t=0 0",
        "a=control:*",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}",
        f"a=framerate:{fps}",
        "a=control:track1",
    )
    return "".join(f"{line}\r\n" for line in lines)
