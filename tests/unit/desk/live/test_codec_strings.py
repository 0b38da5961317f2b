# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a browser is asked: names of codecs from parameter sets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.desk.live.codec_strings import codec_string

PPS = b"\x68\xee\x3c\x80"


@pytest.mark.parametrize(
    ("sps", "name"),
    [
        (b"\x67\x42\xe0\x1e\x8d\x68", "avc1.42E01E"),  # baseline 3.0, as RFC 6381 has it
        (b"\x67\x4d\x40\x28\xec", "avc1.4D4028"),
        (b"\x67\x64\x00\x28\xac", "avc1.640028"),  # high 4.0
    ],
)
def test_h264(sps: bytes, name: str) -> None:
    assert codec_string("h264", [PPS, sps]) == name


def hevc_sps(profile: int, compatible: int, constraints: bytes, level: int, *, space: int = 0, tier: int = 0) -> bytes:
    """Return the beginning of a sequence parameter set as a camera sends it."""
    described = bytes([space << 6 | tier << 5 | profile]) + compatible.to_bytes(4) + constraints + bytes([level])
    return b"\x42\x01\x01" + escaped(described) + b"\xa0\x02\x80"


def escaped(data: bytes) -> bytes:
    """Put in the bytes that keep start codes out (ISO/IEC 23008-2, 7.3.1.1)."""
    out, zeros = bytearray(), 0
    for byte in data:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


@pytest.mark.parametrize(
    ("sps", "name"),
    [
        (hevc_sps(1, 0x6000_0000, b"\xb0\0\0\0\0\0", 93), "hvc1.1.6.L93.B0"),  # ISO/IEC 14496-15, annex E.3
        (hevc_sps(2, 0x2000_0000, b"\x90\0\0\0\0\0", 120, tier=1), "hvc1.2.4.H120.90"),
        (hevc_sps(4, 0x0800_0000, b"\x9c\x28\0\0\0\0", 123, space=1), "hvc1.A4.10.L123.9C.28"),
        (hevc_sps(1, 0x6000_0000, b"\0" * 6, 63), "hvc1.1.6.L63"),
    ],
)
def test_hevc(sps: bytes, name: str) -> None:
    assert codec_string("hevc", [b"\x40\x01", sps]) == name


@given(st.sampled_from(["h264", "hevc"]), st.lists(st.binary(min_size=1, max_size=20), max_size=4))
def test_anything_is_a_name_or_none(codec: str, units: list[bytes]) -> None:
    name = codec_string(codec, units)
    assert name is None or name.startswith(("avc1.", "hvc1."))
