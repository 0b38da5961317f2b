# SPDX-License-Identifier: AGPL-3.0-or-later
"""From RTP payloads to JPEG frames (RFC 2435): the headers that RTP leaves out are put back.

Tables: RFC 2435 appendix A and ITU-T T.81 annex K.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

MAX_BYTES = 32 << 20
MAX_PARTS = 1 << 16

_LUMA = bytes.fromhex(
    "100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933383740485c4e404457453738506d51575f626768673e4d71"
    "797064785c656763"
)
_CHROMA = bytes.fromhex(
    "1112121815182f1a1a2f63423842636363636363636363636363636363636363636363636363636363636363636363636363636363636363"
    "6363636363636363"
)
_DC = bytes.fromhex("00010501010101010100000000000000000102030405060708090a0b")
_DC_CHROMA = bytes.fromhex("00030101010101010101010000000000000102030405060708090a0b")
_AC_BITS = bytes.fromhex("0002010303020403050504040000017d")
_AC_VALUES = bytes.fromhex(
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a"
    "434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9"
    "aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_AC_CHROMA_BITS = bytes.fromhex("00020102040403040705040400010277")
_AC_CHROMA_VALUES = bytes.fromhex(
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738"
    "393a434445464748494a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5"
    "a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)


@dataclass(frozen=True, slots=True)
class _Header:
    """The main header and what may follow it; `tables` are the quantization tables, or empty."""

    offset: int
    kind: int
    quality: int
    size_wh: tuple[int, int]
    restart: int
    tables: bytes
    data_at: int


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """One frame; `damaged` where pieces of it are missing."""

    data: bytes
    timestamp: int
    damaged: bool


@dataclass(slots=True)
class JpegFrames:
    """Assembles one connection's frames; holds at most one, of at most `MAX_BYTES` in `MAX_PARTS`."""

    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0
    _head: bytes = b""
    _timestamp: int | None = None
    _damaged: bool = False
    _tables: dict[int, bytes] = field(default_factory=dict)

    def push(self, payload: memoryview, timestamp: int, *, last: bool, missing: bool) -> list[JpegFrame]:
        """Take the next payload; `missing`: something is lost before it, `last`: the marker."""
        done: list[JpegFrame] = []
        if timestamp != self._timestamp:
            if self._parts:
                done.append(self._end(damaged=True))  # its end never came
            self._begin(timestamp)
        self._damaged = self._damaged or missing
        self._add(payload)
        if last:
            done.append(self._end(damaged=False))
            self._timestamp = None
        return done

    def _begin(self, timestamp: int) -> None:
        self._parts, self._size, self._head = [], 0, b""
        self._timestamp, self._damaged = timestamp, False

    def _add(self, payload: memoryview) -> None:
        header = _parse(payload)
        is_full = self._size > MAX_BYTES or len(self._parts) > MAX_PARTS
        if header is None or header.offset != self._size or is_full:
            self._damaged = True
            return
        if not header.offset:
            tables = self._tables_of(header)
            self._damaged = self._damaged or not tables
            self._head = _jfif(header, tables)
        data = bytes(payload[header.data_at :])
        self._parts.append(data)
        self._size += len(data)

    def _tables_of(self, header: _Header) -> bytes:
        """Return the quantization tables; a camera may send those of a quality once only (RFC 2435 4.2)."""
        if header.quality < 128:
            return _scaled_tables(header.quality)
        if header.tables and header.quality < 255:
            self._tables[header.quality] = header.tables
        return header.tables or self._tables.get(header.quality, b"")

    def _end(self, *, damaged: bool) -> JpegFrame:
        data = b"".join((self._head, *self._parts, b"\xff\xd9"))
        frame = JpegFrame(data, self._timestamp or 0, damaged or self._damaged or not self._head)
        self._begin(self._timestamp or 0)
        return frame


def _parse(payload: memoryview) -> _Header | None:
    if len(payload) < 8:
        return None
    offset, kind, quality = int.from_bytes(payload[1:4], "big"), payload[4], payload[5]
    size_wh, at, restart, tables = (payload[6] * 8, payload[7] * 8), 8, 0, b""
    if kind & 0x40:
        if len(payload) < at + 4:
            return None
        restart, at = payload[at] << 8 | payload[at + 1], at + 4
    if kind & 0x3F > 1 or not all(size_wh):
        return None
    if quality >= 128 and not offset:
        if len(payload) < at + 4:
            return None
        precision, length = payload[at + 1], payload[at + 2] << 8 | payload[at + 3]
        at += 4
        if precision or length not in (0, 64, 128) or len(payload) < at + length:
            return None
        tables, at = bytes(payload[at : at + length]), at + length
    return _Header(
        offset=offset, kind=kind, quality=quality, size_wh=size_wh, restart=restart, tables=tables, data_at=at
    )


def _scaled_tables(quality: int) -> bytes:
    """Return both tables for a quality of 1 to 99 (RFC 2435 appendix A)."""
    factor = min(max(quality, 1), 99)
    scale = 5000 // factor if factor < 50 else 200 - 2 * factor
    return bytes(min(max((value * scale + 50) // 100, 1), 255) for value in _LUMA + _CHROMA)


def _jfif(header: _Header, tables: bytes) -> bytes:
    """Return all that stands before the entropy-coded data (RFC 2435 appendix B)."""
    width, height = header.size_wh
    luma, chroma = tables[:64], tables[64:128] or tables[:64]
    sampling = 0x21 if header.kind & 0x3F == 0 else 0x22
    frame = struct.pack(">BHHB", 8, height, width, 3) + bytes([1, sampling, 0, 2, 0x11, 1, 3, 0x11, 1])
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xDB, b"\x00" + luma + b"\x01" + chroma),
            _segment(0xDD, struct.pack(">H", header.restart)) if header.kind & 0x40 else b"",
            _segment(0xC0, frame),
            _segment(0xC4, b"\x00" + _DC + b"\x10" + _AC_BITS + _AC_VALUES),
            _segment(0xC4, b"\x01" + _DC_CHROMA + b"\x11" + _AC_CHROMA_BITS + _AC_CHROMA_VALUES),
            _segment(0xDA, bytes([3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0])),
        )
    )


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
