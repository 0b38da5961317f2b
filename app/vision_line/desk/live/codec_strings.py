# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a browser is asked whether it can play: the codec's name with profile and level (RFC 6381). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from vision_line.records.clips.nal_units import kind_of

_H264_SPS, _HEVC_SPS = 7, 33
#: Where profile, tier and level begin in a sequence parameter set of H.265: behind two bytes of header and one more.
_HEVC_BEGIN = 3


def codec_string(codec: str, sets: Iterable[bytes]) -> str | None:
    """Return the name of H.264 or H.265 (`h264`, `hevc`) with these parameter sets; None: they do not say.

    `sets` are NAL units without start codes.
    """
    kind = _H264_SPS if codec == "h264" else _HEVC_SPS
    for unit in sets:
        if kind_of(codec, unit) == kind:
            return _h264(unit) if codec == "h264" else _hevc(_without_emulation(unit))
    return None


def _h264(unit: bytes) -> str | None:
    return f"avc1.{unit[1:4].hex().upper()}" if len(unit) >= 4 else None


def _hevc(unit: bytes) -> str | None:
    """ISO/IEC 14496-15, annex E.3."""
    described = unit[_HEVC_BEGIN : _HEVC_BEGIN + 12]
    if len(described) < 12:
        return None
    space, tier, profile = described[0] >> 6, described[0] >> 5 & 1, described[0] & 0x1F
    compatible = int(f"{int.from_bytes(described[1:5]):032b}"[::-1], 2)
    constraints = [f"{byte:X}" for byte in described[5:11].rstrip(b"\0")]
    parts = (f"{'ABC'[space - 1] if space else ''}{profile}", f"{compatible:X}", f"{'LH'[tier]}{described[11]}")
    return ".".join(("hvc1", *parts, *constraints))


def _without_emulation(unit: bytes) -> bytes:
    """Return a unit without the bytes that keep start codes out of it; the beginning is enough here."""
    return unit[:64].replace(b"\0\0\3", b"\0\0")
