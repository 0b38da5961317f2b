# SPDX-License-Identifier: AGPL-3.0-or-later
"""Turns: by EXIF orientations, display matrices and angles; what asks for no right angle is refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vision_line.devices.cpu.orientation import (
    UPRIGHT,
    Turn,
    exif_orientation,
    turn_of_angle,
    turn_of_exif,
    turn_of_matrix,
)

PLANE = np.arange(12, dtype=np.uint8).reshape(3, 4)
ONE = 1 << 16


def tagged(kind: str, orientation: int, pixels: NDArray[np.uint8] = PLANE) -> bytes:
    """Return `pixels` as a file that says `orientation`."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    memory = io.BytesIO()
    image = Image.fromarray(pixels)
    if kind == "TIFF":
        image.save(memory, kind, tiffinfo={0x0112: orientation})
    else:
        image.save(memory, kind, exif=exif)
    return memory.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientations_turn_as_pillow_does(orientation: int) -> None:
    """All eight, the mirrored ones too."""
    image = Image.fromarray(PLANE)
    image.getexif()[0x0112] = orientation
    turned = turn_of_exif(orientation).plane(PLANE)
    assert np.array_equal(turned, np.asarray(ImageOps.exif_transpose(image)))
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_exif_does_not_know_ask_for_nothing(orientation: int) -> None:
    """As viewers treat them."""
    assert turn_of_exif(orientation) == UPRIGHT


@given(
    st.sampled_from([(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)]),
    st.booleans(),
    st.integers(1, 1 << 20),
    st.integers(-(1 << 24), 1 << 24),
)
def test_a_matrix_moves_every_pixel_to_where_it_says(
    signs: tuple[int, int, int, int], swaps: bool, scale: int, shift: int
) -> None:
    """X' = a x + c y, y' = b x + d y, up to scale and shift."""
    a, b, c, d = (0, signs[0], signs[3], 0) if swaps else signs
    turned = turn_of_matrix((a * scale, b * scale, 0, c * scale, d * scale, 0, shift, shift, 1 << 30)).plane(PLANE)
    height, width = PLANE.shape
    places = {(a * x + c * y, b * x + d * y): PLANE[y, x] for y in range(height) for x in range(width)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    assert all(turned[y - top, x - left] == value for (x, y), value in places.items())


@pytest.mark.parametrize(("degrees", "quarters"), [(0, 0), (90, 1), (180, 2), (-180, 2), (270, 3), (-90, 3)])
def test_angles_are_counter_clockwise(degrees: int, quarters: int) -> None:
    """As FFmpeg counts them."""
    assert np.array_equal(turn_of_angle(degrees).plane(PLANE), np.rot90(PLANE, quarters))


@given(st.integers(-720, 720).filter(lambda degrees: degrees % 90))
def test_other_angles_are_refused(degrees: int) -> None:
    """A little turned is neither upright nor sideways."""
    with pytest.raises(ValueError, match="right angles"):
        turn_of_angle(degrees)


def test_an_empty_matrix_asks_for_nothing() -> None:
    """Some writers leave it zero."""
    assert turn_of_matrix((0,) * 9) == UPRIGHT
    assert turn_of_matrix((0, ONE, 0, -ONE, 0, 0, 0, 0, 0)) == Turn(swaps=True, mirrors_x=True)


def test_a_right_angle_that_was_rounded_is_one() -> None:
    """The sine of half a turn is not 0 in every writer's arithmetic."""
    assert turn_of_matrix((1, ONE, 0, -ONE, 1, 0, 0, 0, 0)) == Turn(swaps=True, mirrors_x=True)
    assert turn_of_matrix((-ONE, -1, 0, 1, -ONE, 0, 0, 0, 0)) == Turn(mirrors_x=True, mirrors_y=True)
    with pytest.raises(ValueError, match="right angles"):
        turn_of_matrix((ONE, 200, 0, -200, ONE, 0, 0, 0, 0))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "layout"), [(3, "HH"), (4, "I")])
def test_an_orientation_may_be_a_short_or_a_long(order: str, kind: int, layout: str) -> None:
    """In both byte orders, as some writers leave it."""
    value = struct.pack(order + layout, *(6, 0)[: len(layout)])
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1)
    assert exif_orientation(header + value) == 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_in_a_file_is_read(kind: str, orientation: int) -> None:
    """The same tag in four kinds of files."""
    assert exif_orientation(tagged(kind, orientation, np.zeros((48, 64), np.uint8))) == orientation


@given(st.binary(max_size=200), st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF"]), st.data())
def test_no_bytes_break_the_reader(noise: bytes, kind: str, data: st.DataObject) -> None:
    """Noise, cut and overwritten files: some orientation, no error."""
    file = tagged(kind, 6)
    at = data.draw(st.integers(0, len(file)))
    for broken in (noise, file[:at], file[:at] + noise, file[:at] + noise + file[at + len(noise) :]):
        assert 0 <= exif_orientation(broken) < 1 << 32
