# SPDX-License-Identifier: AGPL-3.0-or-later
"""The barcode survives the codecs that a frame meets, and is never misread."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vision_line.simulator.barcode import BLOCK_PX, read_barcode, write_barcode
from vision_line.simulator.codec import through_h264

CLIP_IDS = st.integers(0, 255)
INDEXES = st.integers(0, 65535)


def noisy_frame(seed: int) -> NDArray[np.uint8]:
    """Make a frame that is hard to compress."""
    return np.random.default_rng(seed).integers(0, 255, (360, 640, 3), np.uint8)


def grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert BGR to grey."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8)


@given(clip_id=CLIP_IDS, index=INDEXES)
def test_what_was_written_is_read(clip_id: int, index: int) -> None:
    """Clip id and index come back from a grey frame."""
    frame = np.zeros((64, 640), np.uint8)

    write_barcode(frame, clip_id, index)

    assert read_barcode(frame) == (clip_id, index)


@settings(max_examples=20, deadline=None)
@given(clip_id=CLIP_IDS, index=INDEXES, quality=st.integers(20, 95))
def test_it_survives_jpeg(clip_id: int, index: int, quality: int) -> None:
    """Evidence images still tell which frame they are."""
    frame = noisy_frame(index)
    write_barcode(frame, clip_id, index)

    coded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)

    assert read_barcode(decoded) == (clip_id, index)


def test_it_survives_h264_under_noise() -> None:
    """Every predicted frame has its own barcode, not a rest of the one before."""
    frames = [noisy_frame(index) for index in range(4)]
    for index, frame in enumerate(frames):
        write_barcode(frame, 200 - index, 40_000 + index * 77)

    for last in range(1, 5):
        assert read_barcode(grey(through_h264(frames[:last], 25))) == (201 - last, 40_000 + (last - 1) * 77)


@given(seed=st.integers(0, 10_000))
def test_a_frame_without_a_barcode_gives_none(seed: int) -> None:
    """Neither noise nor a flat frame is taken for a barcode."""
    noise = np.random.default_rng(seed).integers(0, 255, (32, 640), np.uint8)

    assert read_barcode(noise) is None
    assert read_barcode(np.full((32, 640), seed % 256, np.uint8)) is None


@given(clip_id=CLIP_IDS, index=INDEXES, block=st.integers(0, 39))
def test_one_wrong_block_is_noticed(clip_id: int, index: int, block: int) -> None:
    """A damaged barcode is no barcode."""
    frame = np.zeros((32, 640), np.uint8)
    write_barcode(frame, clip_id, index)
    part = frame[:, block * BLOCK_PX : (block + 1) * BLOCK_PX]
    part[-BLOCK_PX:] = 255 - part[-BLOCK_PX:]

    assert read_barcode(frame) is None


def test_numbers_and_frames_that_do_not_fit_are_refused() -> None:
    """Nothing is written half."""
    with pytest.raises(ValueError, match="index"):
        write_barcode(np.zeros((360, 640), np.uint8), 1, 65536)
    with pytest.raises(ValueError, match="640x16"):
        write_barcode(np.zeros((360, 639), np.uint8), 1, 1)
    assert read_barcode(np.zeros((8, 640), np.uint8)) is None
