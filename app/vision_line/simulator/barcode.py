# SPDX-License-Identifier: AGPL-3.0-or-later
"""A machine-readable barcode in the lowest rows of a frame: which clip and which frame this is."""

from __future__ import annotations

import zlib
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 16
# Dark, light, dark, light: they give the reader its threshold and reject frames without a barcode.
_MARKER = (0, 1, 0, 1)
_CLIP_BITS, _INDEX_BITS, _CHECK_BITS = 8, 16, 12
_BITS = len(_MARKER) + _CLIP_BITS + _INDEX_BITS + _CHECK_BITS
_DARK, _LIGHT = 32, 224
_LEAST_CONTRAST = 48.0


def write_barcode(frame: NDArray[np.uint8], clip_id: int, index: int) -> None:
    """Write clip id (0..255) and frame index (0..65535) into the lowest 16 rows, in place.

    `frame` is (h, w) or (h, w, channels) uint8 with h >= 16 and w >= 640.

    Raises:
        ValueError: a number or the frame is too large or too small.
    """
    if not (0 <= clip_id < 1 << _CLIP_BITS and 0 <= index < 1 << _INDEX_BITS):
        raise ValueError(f"clip id 0..255 and index 0..65535 expected, got {clip_id} and {index}")
    if not _has_room(frame.shape):
        raise ValueError(f"a frame of at least {_BITS * BLOCK_PX}x{BLOCK_PX} expected, got {frame.shape}")
    bits = np.array((*_MARKER, *_payload(clip_id, index)), np.uint8)
    row = np.repeat(np.where(bits == 1, _LIGHT, _DARK).astype(np.uint8), BLOCK_PX)
    barcode = frame[-BLOCK_PX:, : row.size]
    barcode[:] = row if frame.ndim == 2 else row[:, None]


def read_barcode(grey: NDArray[np.uint8]) -> tuple[int, int] | None:
    """Read (clip id, frame index) from a (h, w) uint8 frame, None where no valid barcode is."""
    if grey.ndim != 2 or not _has_room(grey.shape):
        return None
    blocks = grey[-BLOCK_PX:, : _BITS * BLOCK_PX].reshape(BLOCK_PX, _BITS, BLOCK_PX)
    # The outer quarter of a block is left out: there the codec mixes neighbours.
    quarter = BLOCK_PX // 4
    levels = blocks[quarter:-quarter, :, quarter:-quarter].mean(axis=(0, 2))
    marker = levels[: len(_MARKER)]
    if any((b - a) * (-1) ** i < _LEAST_CONTRAST for i, (a, b) in enumerate(pairwise(marker))):
        return None
    bits = (levels[len(_MARKER) :] > marker.mean()).astype(int)
    number = int("".join(map(str, bits)), 2) >> _CHECK_BITS
    clip_id, index = number >> _INDEX_BITS, number & ((1 << _INDEX_BITS) - 1)
    return (clip_id, index) if bits.tolist() == _payload(clip_id, index) else None


def _has_room(shape: tuple[int, ...]) -> bool:
    return shape[0] >= BLOCK_PX and shape[1] >= _BITS * BLOCK_PX


def _payload(clip_id: int, index: int) -> list[int]:
    """Give the bits after the marker: clip id, index and check bits, highest first."""
    number = clip_id << _INDEX_BITS | index
    check = zlib.crc32(number.to_bytes(3, "big")) & ((1 << _CHECK_BITS) - 1)
    text = f"{number << _CHECK_BITS | check:0{_CLIP_BITS + _INDEX_BITS + _CHECK_BITS}b}"
    return [int(bit) for bit in text]
