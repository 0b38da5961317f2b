# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which frames are stored: spread over cameras and time, no uniform ones, no near-duplicates. Pure.

Calibration measures ranges of activations on these images, so variety matters more than their number. Times are
seconds since the start of the capture.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from vision_line.ingest.fingerprint import COLUMNS, ROWS, Fingerprint, Thumbnail
from vision_line.ingest.health import is_flat

#: Two images differ when at least this share of their samples differs by more than this many levels: sensor noise
#: changes many samples a little, a part that enters or leaves changes some a lot.
NEAR_LEVELS = 12
NEAR_SHARE = 0.01

#: Delay before the next try after a rejected frame, in seconds.
RETRY_S = 0.5


class Skip(StrEnum):
    """Why a frame was not stored. Stable: shown and documented."""

    FLAT = "black or uniform"
    DUPLICATE = "near-duplicate"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Quota:
    """A camera's share of a capture: at most `images`, one every `period_s`, the first after `offset_s`."""

    images: int
    period_s: float
    offset_s: float


def plan_quotas(cameras: int, images: int, duration_s: float) -> tuple[Quota, ...]:
    """Divide `images` among `cameras` evenly, and each camera's evenly over `duration_s`; cameras take turns.

    Raises:
        ValueError: a camera would have no image.
    """
    if not 1 <= cameras <= images:
        raise ValueError(f"expected at least one image for each of {cameras} cameras, found {images}")
    quotas = []
    for number in range(cameras):
        quota = images // cameras + (number < images % cameras)
        period_s = duration_s / quota
        # Within half a period, so that a camera whose first frame is rejected can retry in the other half.
        quotas.append(Quota(quota, period_s, period_s * number / (2 * cameras)))
    return tuple(quotas)


class Sampler:
    """Accepts or rejects one camera's frames in the order of their times; keeps the thumbnails of accepted ones."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._next_s = quota.offset_s
        self._taken = np.empty((quota.images, ROWS, COLUMNS), np.uint8)
        self.stored = 0
        self.skipped: Counter[Skip] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether the quota is reached."""
        return self.stored == self._quota.images

    def is_due(self, at_s: float) -> bool:
        """Whether a frame is wanted now."""
        return not self.is_full and at_s >= self._next_s

    def accept(self, at_s: float, signature: Fingerprint) -> Skip | None:
        """Accept the frame (None), or return why it is rejected; call it only when one is due.

        A camera that was offline catches up, at no more than twice its pace.
        """
        if is_flat(signature):
            return self.reject(at_s, Skip.FLAT)
        if self._has_seen(signature.thumbnail):
            return self.reject(at_s, Skip.DUPLICATE)
        self._taken[self.stored] = signature.thumbnail
        self.stored += 1
        quota = self._quota
        self._next_s = max(quota.offset_s + self.stored * quota.period_s, at_s + quota.period_s / 2)
        return None

    def reject(self, at_s: float, why: Skip) -> Skip:
        """Count a rejected frame, and return why."""
        self.skipped[why] += 1
        self._next_s = at_s + min(RETRY_S, self._quota.period_s / 2)
        return why

    def _has_seen(self, thumbnail: Thumbnail) -> bool:
        change = np.abs(self._taken[: self.stored].astype(np.int16) - thumbnail)
        moved = (change > NEAR_LEVELS).mean(axis=(1, 2))
        return bool((moved < NEAR_SHARE).any())
