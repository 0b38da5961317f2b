# SPDX-License-Identifier: AGPL-3.0-or-later
"""From RTP payloads to pieces of H.264 (RFC 6184) and H.265 (RFC 7798) in Annex B form.

A piece begins with a start code where a NAL unit begins, and continues the NAL unit before it otherwise. With each
comes whether a NAL unit ends with it. Payloads that are cut short, or of a kind that no camera sends, give empty pieces
that end nothing: what is missing then is missed further on.
"""

from __future__ import annotations

from collections.abc import Iterator

from vision_line.ingest.nal import START_CODE

_STAP_A, _FU_A = 24, 28
_AP, _FU, _PACI = 48, 49, 50
START, END = 0x80, 0x40  # in a fragment's header, whose other bits are the NAL unit's kind
_NOTHING = b"", False


def h264_piece(payload: memoryview) -> tuple[bytes, bool]:
    """Return the piece in an H.264 payload: a NAL unit, several, or a fragment of one."""
    if len(payload) < 2:
        return _NOTHING
    header = payload[0]
    kind = header & 0x1F
    if kind == _FU_A:
        fragment = payload[1]
        ends = fragment & END != 0
        if not fragment & START:  # goes on with a NAL unit: nearly all
            return bytes(payload[2:]), ends
        return START_CODE + bytes([header & 0xE0 | fragment & 0x1F]) + payload[2:], ends
    if 0 < kind < _STAP_A:
        return START_CODE + payload, True
    return _aggregate(payload[1:]) if kind == _STAP_A else _NOTHING


def h265_piece(payload: memoryview) -> tuple[bytes, bool]:
    """Return the piece in an H.265 payload."""
    if len(payload) < 3:
        return _NOTHING
    header = payload[0]
    kind = header >> 1 & 0x3F
    if kind == _FU:
        fragment = payload[2]
        ends = fragment & END != 0
        if not fragment & START:
            return bytes(payload[3:]), ends
        return START_CODE + bytes([header & 0x81 | (fragment & 0x3F) << 1, payload[1]]) + payload[3:], ends
    if kind < _AP:
        return START_CODE + payload, True
    return _aggregate(payload[2:]) if kind == _AP else _NOTHING


def _aggregate(units: memoryview) -> tuple[bytes, bool]:
    data = b"".join(_aggregated(units))
    return data, bool(data)


def _aggregated(units: memoryview) -> Iterator[bytes]:
    """Yield NAL units that stand behind each other, each after its size."""
    at = 0
    while len(units) - at > 2:
        size = units[at] << 8 | units[at + 1]
        at += 2
        if not size or len(units) - at < size:
            return
        yield START_CODE + units[at : at + size]
        at += size


PIECES = {"h264": h264_piece, "hevc": h265_piece}
