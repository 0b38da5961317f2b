# SPDX-License-Identifier: AGPL-3.0-or-later
"""Holes in JPEG files: zeros where a disk or a card lost the data, which decoders take for an image all the same."""

from __future__ import annotations

import struct

#: No encoder writes so many zero bytes on end, unless zeros mean "as before" with its own tables.
HOLE = bytes(64)

_HUFFMAN, _SCAN, _START_OF_FRAME = 0xC4, 0xDA, frozenset({0xC0, 0xC1})
_END = b"\xff\xd9"
_ALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})  # markers without a length
_SAME_DC, _END_OF_BLOCK = 0, 0


def has_hole(file: bytes) -> bool:
    """Whether the coded data of a sequential JPEG hold a run of zeros that no encoder writes; False for all else."""
    at = file.find(HOLE)
    if at < 0:  # nearly always
        return False
    try:
        begin, zeros_are_flat = _coded_data(file)
    except (struct.error, IndexError, ValueError):
        return False
    end = file.find(_END, begin)
    return not zeros_are_flat and file.find(HOLE, begin, end if end >= 0 else len(file)) >= 0


def _coded_data(file: bytes) -> tuple[int, bool]:
    """Return where the first scan's data begin, and whether a zero byte there is a flat piece of the image.

    Raises:
        ValueError: there is no sequential scan.
    """
    first_symbols: dict[int, int] = {}  # by class and number of a table: what its shortest code, all zeros, means
    sequential = False
    at = 2
    while True:
        if file[at] != 0xFF:
            raise ValueError("no marker")
        marker = file[at + 1]
        if marker == 0xFF or marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        (size,) = struct.unpack_from(">H", file, at + 2)
        segment = file[at + 4 : at + 2 + size]
        at += 2 + size
        if marker == _HUFFMAN:
            first_symbols |= _first_symbols(segment)
        elif marker == _SCAN:
            break
        sequential = sequential or marker in _START_OF_FRAME
    if not sequential:
        raise ValueError("no sequential JPEG")
    # Without tables the usual ones hold, in which zeros are no flat piece.
    return at, bool(first_symbols) and all(
        symbol == (_END_OF_BLOCK if table >> 4 else _SAME_DC) for table, symbol in first_symbols.items()
    )


def _first_symbols(segment: bytes) -> dict[int, int]:
    found = {}
    at = 0
    while at < len(segment):
        found[segment[at]] = segment[at + 17]
        at += 17 + sum(segment[at + 1 : at + 17])
    return found
