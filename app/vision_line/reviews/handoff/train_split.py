# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which images train and which validate: by time, never the same part or track in both. Pure.

A part goes by several cameras and is seen in many frames, so that neighbouring images show the same thing. Time is cut
into blocks of all cameras; blocks go to the validation in the order of a hash of their number until a fifth of the
images is there. What lies too close to the other side, or shows one of its tracks, is in neither.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b

from vision_line.reviews.handoff.reviewed_image import ReviewedImage

BLOCK_S = 600.0
#: A part needs less from its first camera to its last one, and a track is over by then.
APART_S = 30.0
VALIDATION_SHARE = 0.2


class Split(StrEnum):
    """What an image is for."""

    TRAIN = "train"
    VAL = "val"


def split_images(images: Sequence[ReviewedImage]) -> list[Split | None]:
    """Return what each image is for, None: for neither. With images of one block only, all of them train."""
    blocks = [int(image.frame.at_utc // BLOCK_S) for image in images]
    validating = _validating(Counter(blocks))
    sides = [Split.VAL if block in validating else Split.TRAIN for block in blocks]
    training = [image for image, side in zip(images, sides, strict=True) if side is Split.TRAIN]
    times = sorted(image.frame.at_utc for image in training)
    tracks = {(image.frame.run_id, track) for image in training for track in image.tracks}

    def is_beside(image: ReviewedImage) -> bool:
        at_utc = image.frame.at_utc
        place = bisect_left(times, at_utc - APART_S)
        near = place < len(times) and times[place] <= at_utc + APART_S
        return near or any((image.frame.run_id, track) in tracks for track in image.tracks)

    return [None if side is Split.VAL and is_beside(image) else side for image, side in zip(images, sides, strict=True)]


def _validating(blocks: Counter[int]) -> set[int]:
    """Return the blocks that validate: none of a single one, and never all of them."""
    chosen: set[int] = set()
    wanted = VALIDATION_SHARE * blocks.total()
    for block in sorted(blocks, key=_hash)[: len(blocks) - 1]:
        if sum(blocks[one] for one in chosen) >= wanted:
            break
        chosen.add(block)
    return chosen


def _hash(block: int) -> bytes:
    return blake2b(f"validation {block}".encode(), digest_size=8).digest()
