# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which pictures are worth collecting: spread over cameras and time, no black ones, none twice. Pure.

Calibration reads the ranges of activations off these pictures, so what counts is variety: a hundred pictures of one
minute say little more than one of them. Times are seconds since the capture began.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from vision_line.ingest.fingerprint import COLUMNS, ROWS, Fingerprint, Thumbnail
from vision_line.ingest.health import is_flat

#: A picture is another one when at least this share of its samples differs by more than this many levels: sensor noise
#: moves many samples a little, a part that came or went moves some a lot.
NEAR_LEVELS = 12
NEAR_SHARE = 0.01

#: After a picture that was not worth it the camera is looked at again so much later.
RETRY_S = 0.5


class Skip(StrEnum):
    """Why a picture was not stored. Stable: shown and documented."""

    FLAT = "black or uniform"
    DUPLICATE = "near-duplicate"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Quota:
    """A camera's part of a capture: at most `quota` pictures, one every `period_s`, the first after `offset_s`."""

    quota: int
    period_s: float
    offset_s: float


def plan_shares(cameras: int, images: int, duration_s: float) -> tuple[Quota, ...]:
    """Divide `images` among `cameras` evenly, and each camera's evenly over `duration_s`; cameras take turns.

    Raises:
        ValueError: a camera would have no picture.
    """
    if not 1 <= cameras <= images:
        raise ValueError(f"expected at least one picture for each of {cameras} cameras, found {images}")
    shares = []
    for number in range(cameras):
        quota = images // cameras + (number < images % cameras)
        period_s = duration_s / quota
        # Within half a period: a camera that has just nothing to show then still has the other half.
        shares.append(Quota(quota, period_s, period_s * number / (2 * cameras)))
    return tuple(shares)


class Sampler:
    """Decides on one camera's pictures in the order of their times; remembers the thumbnails of those it took."""

    def __init__(self, share: Quota) -> None:
        self._share = share
        self._next_s = share.offset_s
        self._taken = np.empty((share.quota, ROWS, COLUMNS), np.uint8)
        self.stored = 0
        self.skipped: Counter[Skip] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether the camera has given its part."""
        return self.stored == self._share.quota

    def is_due(self, at_s: float) -> bool:
        """Whether a picture is wanted now."""
        return not self.is_full and at_s >= self._next_s

    def choose(self, at_s: float, signature: Fingerprint) -> Skip | None:
        """Take the picture (None), or say why not; call it only when one is due.

        A camera that was away makes up for it, at no more than twice its pace.
        """
        if is_flat(signature):
            return self.refuse(at_s, Skip.FLAT)
        if self._has_seen(signature.thumbnail):
            return self.refuse(at_s, Skip.DUPLICATE)
        self._taken[self.stored] = signature.thumbnail
        self.stored += 1
        share = self._share
        self._next_s = max(share.offset_s + self.stored * share.period_s, at_s + share.period_s / 2)
        return None

    def refuse(self, at_s: float, why: Skip) -> Skip:
        """Count a picture that is not stored, and return why."""
        self.skipped[why] += 1
        self._next_s = at_s + min(RETRY_S, self._share.period_s / 2)
        return why

    def _has_seen(self, thumbnail: Thumbnail) -> bool:
        change = np.abs(self._taken[: self.stored].astype(np.int16) - thumbnail)
        moved = (change > NEAR_LEVELS).mean(axis=(1, 2))
        return bool((moved < NEAR_SHARE).any())
