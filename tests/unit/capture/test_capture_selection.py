# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which images a capture takes: evenly over cameras and time, nothing black, nothing twice."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.capture.sampling import RETRY_S, Quota, Sampler, Skip, plan_quotas
from vision_line.ingest.fingerprint import COLUMNS, ROWS, Fingerprint


def signature(seed: int, noise: float = 0.0) -> Fingerprint:
    """Return an image that depends on `seed` alone but for sensor noise."""
    levels = np.random.default_rng(seed).integers(0, 255, (ROWS, COLUMNS)).astype(float)
    levels += np.random.default_rng(seed + 1).normal(0.0, noise, levels.shape) if noise else 0.0
    return Fingerprint(levels.clip(0, 255).astype(np.uint8), 5.0)


@given(st.integers(1, 64), st.integers(0, 500), st.floats(1.0, 1e5))
def test_every_camera_has_its_part(cameras: int, more: int, duration_s: float) -> None:
    """The quotas add up, differ by one image at most, and begin and end within the time."""
    planned = plan_quotas(cameras, cameras + more, duration_s)

    images = [quota.images for quota in planned]
    assert sum(images) == cameras + more
    assert max(images) - min(images) <= 1
    for quota in planned:
        assert 0 <= quota.offset_s < quota.period_s / 2 + 1e-9
        assert quota.offset_s + (quota.images - 1) * quota.period_s < duration_s


def test_fewer_images_than_cameras_are_refused() -> None:
    """Some camera would not be in the calibration."""
    with pytest.raises(ValueError, match="each of 16 cameras, found 15"):
        plan_quotas(16, 15, 60.0)


@given(st.integers(1, 20), st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200))
def test_the_pace_is_kept_whenever_the_camera_is_there(images: int, pauses_s: list[float]) -> None:
    """Never ahead of its part, never twice within half a period."""
    quota = Quota(images, period_s=2.0, offset_s=0.5)
    sampler = Sampler(quota)
    at_s, taken = 0.0, []
    for number, pause_s in enumerate(pauses_s):
        at_s += pause_s
        if sampler.is_due(at_s) and sampler.accept(at_s, signature(number)) is None:
            taken.append(at_s)

    assert sampler.stored == len(taken) <= images
    assert all(time_s >= 0.5 + 2.0 * number for number, time_s in enumerate(taken))
    assert all(after - before >= 1.0 - 1e-9 for before, after in pairwise(taken))


def test_a_camera_that_was_away_makes_up_for_it() -> None:
    """At twice its pace, until it is where it should be."""
    sampler = Sampler(Quota(10, period_s=2.0, offset_s=0.0))
    taken = []
    for step in range(400):
        at_s = 8.0 + step / 20  # four images late
        if sampler.is_due(at_s) and sampler.accept(at_s, signature(step)) is None:
            taken.append(at_s)

    assert np.diff(taken).tolist() == pytest.approx([1] * 8 + [2], abs=0.06)
    assert sampler.is_full


@pytest.mark.parametrize("level", [0, 16, 128, 255])
def test_black_and_uniform_images_are_skipped(level: int) -> None:
    """Covered lenses, lost exposure; it is looked again soon."""
    sampler = Sampler(Quota(3, period_s=60.0, offset_s=0.0))

    assert sampler.accept(1.0, Fingerprint(np.full((ROWS, COLUMNS), level, np.uint8), 0.0)) is Skip.FLAT
    assert not sampler.is_due(1.0 + RETRY_S - 0.01)
    assert sampler.is_due(1.0 + RETRY_S)
    assert sampler.skipped == {Skip.FLAT: 1}


def test_near_duplicates_of_any_earlier_image_are_skipped() -> None:
    """Noise makes no new image; a part that covers a fiftieth of it does."""
    sampler = Sampler(Quota(5, period_s=1.0, offset_s=0.0))
    part = signature(1).thumbnail.copy()
    part[:4, :3] ^= 0x80

    assert sampler.accept(0.0, signature(1)) is None
    assert sampler.accept(1.0, signature(2)) is None
    assert sampler.accept(2.0, signature(1, noise=2.0)) is Skip.DUPLICATE
    assert sampler.accept(3.0, Fingerprint(part, 5.0)) is None
