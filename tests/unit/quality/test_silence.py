# SPDX-License-Identifier: AGPL-3.0-or-later
"""Suspiciously low: when it is called, and how often for nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, poisson

from vision_line.quality.silence import (
    EventShortage,
    event_shortage,
    expected_false_reject_silences,
    expected_false_silences,
    reject_shortage,
    silence_h,
    silent_parts,
)


def test_a_blinded_camera_is_called_within_40_inspected_minutes() -> None:
    """With 12 events an hour before: after 33 minutes, and not after 32."""
    assert silence_h(12.0) * 60 == pytest.approx(33.0)
    assert not event_shortage(0, 12.0, 32 / 60).suspicious
    assert event_shortage(0, 12.0, 34 / 60).suspicious


def test_time_without_inspection_is_not_silence() -> None:
    """A camera that inspected nothing says nothing."""
    assert event_shortage(0, 12.0, 0.0) == EventShortage(0, 0.0, 1.0)
    assert not event_shortage(0, 0.0, 100.0).suspicious


@given(count=st.integers(0, 60), rate=st.floats(0.01, 30.0), hours=st.floats(0.01, 9.0))
def test_equal_to_the_poisson_distribution(count: int, rate: float, hours: float) -> None:
    """The tail is exact, with few events and with many."""
    assert event_shortage(count, rate, hours).probability == pytest.approx(poisson.cdf(count, rate * hours), abs=1e-9)


@given(rate=st.floats(0.01, 100.0))
def test_silence_is_a_count_of_zero(rate: float) -> None:
    """Both ways of asking agree to the second."""
    assert not event_shortage(0, rate, silence_h(rate) * 0.999).suspicious
    assert event_shortage(0, rate, silence_h(rate) * 1.001).suspicious


def test_false_silences_of_a_line_in_control() -> None:
    """Gaps between half a million events are too long as often as is promised, within four standard errors."""
    gaps_h = np.random.default_rng(5).exponential(1 / 12.0, 500_000)
    promised = expected_false_silences(12.0, float(gaps_h.sum()))

    assert np.count_nonzero(gaps_h > silence_h(12.0)) == pytest.approx(promised, abs=4 * promised**0.5)
    assert expected_false_silences(12.0, 168.0) == pytest.approx(2.74, abs=0.01)


def test_what_makes_no_sense_is_refused() -> None:
    """A negative time is a programming error; without a rate there is no silence."""
    with pytest.raises(ValueError, match="not negative"):
        event_shortage(1, 2.0, -1.0)
    with pytest.raises(ValueError, match="silence says nothing"):
        silence_h(0.0)
    with pytest.raises(ValueError, match="as many parts as are counted"):
        reject_shortage(3, 0.1, 2)
    with pytest.raises(ValueError, match="every part"):
        silent_parts(1.0)


@given(share=st.floats(1e-5, 0.99))
def test_the_silence_of_rejects_begins_with_a_certain_part(share: float) -> None:
    """Of 1 in 100 after 657 inspected parts without a reject, and never of parts that were not inspected."""
    parts = silent_parts(share)
    assert reject_shortage(0, share, parts).suspicious
    assert not reject_shortage(0, share, parts - 1).suspicious
    assert not reject_shortage(0, share, 0).suspicious


def test_a_blinded_lane_is_called_after_so_many_parts() -> None:
    assert [silent_parts(share) for share in (0.1, 0.01, 0.001)] == [63, 657, 6597]


@given(count=st.integers(0, 60), share=st.floats(1e-4, 0.9), parts=st.integers(60, 3000))
def test_rejects_equal_the_binomial_distribution(count: int, share: float, parts: int) -> None:
    """The tail is exact, with few rejected parts and with many."""
    found = reject_shortage(count, share, parts)
    assert found.probability == pytest.approx(binom.cdf(count, parts, share), abs=1e-9)
    assert found.expected == share * parts


def test_false_silences_of_a_lane_in_control() -> None:
    """Runs of parts between 400,000 rejects are too long as often as is promised, within four standard errors."""
    runs = np.random.default_rng(6).geometric(0.02, 400_000) - 1
    promised = expected_false_reject_silences(0.02, float((runs + 1).sum()))
    assert np.count_nonzero(runs >= silent_parts(0.02)) == pytest.approx(promised, abs=4 * promised**0.5)
