# SPDX-License-Identifier: AGPL-3.0-or-later
"""H.264 and H.265 as byte streams: what a container keeps apart is joined, so that one muxer takes all. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

START_CODE = b"\x00\x00\x00\x01"
#: How each codec numbers its parameter sets, and how a unit's first byte tells its kind.
_PARAMETER_SETS = {"h264": frozenset({7, 8}), "hevc": frozenset({32, 33, 34})}
_UNITS = re.compile(rb"\x00\x00\x01")


def kind_of(codec: str, unit: bytes) -> int:
    """Return the type of a NAL unit."""
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F


def split_units(data: bytes) -> list[bytes]:
    """Return the NAL units of a byte stream without their start codes."""
    return [unit for part in _UNITS.split(data)[1:] if (unit := part.rstrip(b"\x00"))]


def is_prefixed(extradata: bytes) -> bool:
    """Whether a container's header says that units have their length before them, as MP4 and Matroska keep them."""
    return extradata[:1] == b"\x01"


def sets_of_header(codec: str, extradata: bytes) -> bytes:
    """Return the parameter sets of a stream's header as a byte stream; a header of that kind is returned as it is.

    Raises:
        ValueError: it is none.
    """
    if not is_prefixed(extradata):
        return extradata
    try:
        units = list(_avcc_units(extradata) if codec == "h264" else _hvcc_units(extradata))
    except IndexError as exc:
        raise ValueError(f"the header of the {codec} stream ends early") from exc
    return b"".join(START_CODE + unit for unit in units)


def byte_stream(codec: str, extradata: bytes, data: bytes) -> bytes:
    """Return a frame as a byte stream, whichever way its container keeps it.

    Raises:
        ValueError: its units are not as long as it says.
    """
    if not is_prefixed(extradata):
        return data
    width = (extradata[4 if codec == "h264" else 21] & 3) + 1
    return b"".join(START_CODE + unit for unit in _prefixed_units(data, width))


def parameter_sets(codec: str, data: bytes) -> tuple[bytes, ...]:
    """Return the parameter sets of a frame, a byte stream; they stand before its first slice."""
    kinds = _PARAMETER_SETS[codec]
    return tuple(unit for unit in split_units(data[: 1 << 12]) if kind_of(codec, unit) in kinds)


def _prefixed_units(data: bytes, width: int) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + width])
        unit = data[at + width : at + width + length]
        if len(unit) != length:
            raise ValueError(f"expected a unit of {length} bytes, found {len(unit)}")
        yield unit
        at += width + length


def _avcc_units(header: bytes) -> Iterator[bytes]:
    """ISO/IEC 14496-15, 5.3.3.1: sequence parameter sets, then picture parameter sets, each with its length."""
    at = 5
    for mask in (0x1F, 0xFF):
        count, at = header[at] & mask, at + 1
        for _ in range(count):
            length = header[at] << 8 | header[at + 1]
            yield header[at + 2 : at + 2 + length]
            at += 2 + length


def _hvcc_units(header: bytes) -> Iterator[bytes]:
    """ISO/IEC 14496-15, 8.3.3.1: arrays of units by their kind."""
    at = 23
    for _ in range(header[22]):
        count, at = header[at + 1] << 8 | header[at + 2], at + 3
        for _ in range(count):
            length = header[at] << 8 | header[at + 1]
            yield header[at + 2 : at + 2 + length]
            at += 2 + length
