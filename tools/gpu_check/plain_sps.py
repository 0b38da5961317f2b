# SPDX-License-Identifier: AGPL-3.0-or-later
"""H.264 as many cameras send it: without the note in the sequence parameter set that frames are not held back.

Encoders of files write it (VUI, bitstream restriction: ITU-T H.264, E.2.1); without it a decoder may hold several
frames, however few the stream needs.
"""

from __future__ import annotations

import re

_SPS, _START = 7, b"\0\0\0\1"
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128})


class _Bits:
    """Reads the bits of an RBSP."""

    def __init__(self, data: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def fixed(self, count: int) -> int:
        self.at += count
        return int(self.bits[self.at - count : self.at], 2)

    def golomb(self) -> int:
        zeros = self.bits.index("1", self.at) - self.at
        self.at += zeros
        return self.fixed(zeros + 1) - 1


def without_vui(sps: bytes) -> bytes:
    """Return a sequence parameter set (7.3.2.1.1) as a NAL unit that ends before its VUI; without scaling lists.

    Raises:
        ValueError: it has scaling lists.
    """
    bits = _Bits(sps[1:].replace(b"\0\0\3", b"\0\0"))
    profile = bits.fixed(8)
    bits.fixed(16)  # constraints, level
    bits.golomb()  # id
    if profile in _HIGH_PROFILES:
        if bits.golomb() == 3:  # chroma
            bits.fixed(1)
        bits.golomb()  # bits of luma
        bits.golomb()  # bits of chroma
        bits.fixed(1)
        if bits.fixed(1):
            raise ValueError("expected a sequence parameter set without scaling lists")
    bits.golomb()  # frame numbers
    _skip_order(bits)
    bits.golomb()  # reference frames
    bits.fixed(1)
    bits.golomb()  # width
    bits.golomb()  # height
    if not bits.fixed(1):  # frames alone
        bits.fixed(1)
    bits.fixed(1)
    if bits.fixed(1):  # cropping
        for _ in range(4):
            bits.golomb()
    kept = bits.bits[: bits.at] + "01"  # no VUI, stop bit
    kept += "0" * (-len(kept) % 8)
    return sps[:1] + _escaped(int(kept, 2).to_bytes(len(kept) // 8, "big"))


def _skip_order(bits: _Bits) -> None:
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.fixed(1)
        for _ in range(2):
            bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()


def _escaped(rbsp: bytes) -> bytes:
    return re.sub(rb"\0\0(?=[\0-\3])", lambda _: b"\0\0\3", rbsp)


def plain(access_unit: bytes) -> bytes:
    """Return an access unit (Annex B) whose sequence parameter sets have no VUI."""
    units = [unit for unit in re.split(b"\0\0\0?\1", access_unit) if unit]
    return b"".join(_START + (without_vui(unit.rstrip(b"\0")) if unit[0] & 31 == _SPS else unit) for unit in units)
