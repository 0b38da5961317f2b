# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a stored image is to be turned so that people see it upright: from a display matrix or an EXIF orientation."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]  # (h, w)

_SOI, _EXIF_APP, _SCAN = b"\xff\xd8", 0xE1, 0xDA
_EXIF = b"Exif\x00\x00"
_ORIENTATION_TAG = 0x0112
_LONG = 4  # a tag's type; EXIF asks for 3, a short
#: Sines of right angles are computed, and not always rounded to 0; this is a twentieth of a degree.
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class Turn:
    """First swap rows and columns, then mirror left and right, then top and bottom."""

    swaps: bool = False
    mirrors_x: bool = False
    mirrors_y: bool = False

    def plane(self, plane: Plane) -> Plane:
        """Return the (h, w) plane turned, as a new C-contiguous one."""
        turned = cv2.transpose(plane) if self.swaps else np.ascontiguousarray(plane)
        if self.mirrors_x or self.mirrors_y:
            turned = cv2.flip(turned, 0 if not self.mirrors_x else -1 if self.mirrors_y else 1)
        return cast("Plane", turned)


UPRIGHT = Turn()

#: EXIF 2.3, tag Orientation: where the stored rows and columns are on the upright image.
_BY_EXIF = {
    1: UPRIGHT,
    2: Turn(mirrors_x=True),
    3: Turn(mirrors_x=True, mirrors_y=True),
    4: Turn(mirrors_y=True),
    5: Turn(swaps=True),
    6: Turn(swaps=True, mirrors_x=True),
    7: Turn(swaps=True, mirrors_x=True, mirrors_y=True),
    8: Turn(swaps=True, mirrors_y=True),
}


def turn_of_exif(orientation: int) -> Turn:
    """Return what an EXIF orientation asks for; values that EXIF does not know ask for nothing."""
    return _BY_EXIF.get(orientation, UPRIGHT)


def turn_of_matrix(matrix: Sequence[int]) -> Turn:
    """Return what a display matrix asks for: nine numbers a b u c d v x y w, x' = a x + c y and y' = b x + d y.

    Scaling and shifting ask for nothing, and neither do a matrix of zeros and numbers that are small from rounding.

    Raises:
        ValueError: it turns by something else than right angles.
    """
    a, b, _, c, d, *_ = matrix
    least = max(abs(a), abs(b), abs(c), abs(d)) * _ROUNDING
    a, b, c, d = (value if abs(value) > least else 0 for value in (a, b, c, d))
    if a and d and not b and not c:
        return Turn(mirrors_x=a < 0, mirrors_y=d < 0)
    if b and c and not a and not d:
        return Turn(swaps=True, mirrors_x=c < 0, mirrors_y=b < 0)
    if not (a or b or c or d):
        return UPRIGHT
    raise ValueError(f"frames that are to be turned by other than right angles (display matrix {a} {b} {c} {d})")


def turn_of_angle(degrees: int) -> Turn:
    """Return what a counter-clockwise angle asks for, mirroring being unknown.

    Raises:
        ValueError: it is no right angle.
    """
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}.get(degrees % 360, (1, 1))
    return turn_of_matrix((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))


def exif_orientation(image: bytes) -> int:
    """Return the orientation that a JPEG, PNG, WebP or TIFF file says, 1 (upright) where it says none."""
    try:
        return _orientation_in(_exif_block(image))
    except (struct.error, IndexError):
        return 1


def _exif_block(file: bytes) -> bytes:
    """Return the TIFF structure that holds the tags; empty where there is none."""
    if file.startswith(_SOI):
        return _jpeg_block(file)
    if file.startswith(b"\x89PNG"):
        return _chunk(file, 8, b"eXIf", ">I4s", trailer=4)
    if file[:4] == b"RIFF" and file[8:12] == b"WEBP":
        return _chunk(file, 12, b"EXIF", "<4sI", trailer=0).removeprefix(_EXIF)
    return file if file[:4] in (b"II*\x00", b"MM\x00*") else b""


def _jpeg_block(file: bytes) -> bytes:
    at = 2
    while at + 4 <= len(file):
        if file[at] != 0xFF:
            return b""
        marker = file[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _SCAN:
            return b""
        (size,) = struct.unpack_from(">H", file, at + 2)
        content = file[at + 4 : at + 2 + size]
        if marker == _EXIF_APP and content.startswith(_EXIF):
            return content.removeprefix(_EXIF)
        at += 2 + size
    return b""


def _chunk(file: bytes, at: int, wanted: bytes, layout: str, *, trailer: int) -> bytes:
    while at + 8 <= len(file):
        first, second = struct.unpack_from(layout, file, at)
        name, size = (first, second) if isinstance(first, bytes) else (second, first)
        if name == wanted:
            return file[at + 8 : at + 8 + size]
        at += 8 + size + trailer + (size % 2 if not trailer else 0)  # WebP's chunks are padded to an even size
    return b""


def _orientation_in(block: bytes) -> int:
    if not block:
        return 1
    order = "<" if block[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", block, 4)
    (entries,) = struct.unpack_from(f"{order}H", block, at)
    for index in range(entries):
        entry_at = at + 2 + 12 * index
        tag, kind = struct.unpack_from(f"{order}HH", block, entry_at)
        if tag == _ORIENTATION_TAG:
            return int(struct.unpack_from(f"{order}{'I' if kind == _LONG else 'H'}", block, entry_at + 8)[0])
    return 1
