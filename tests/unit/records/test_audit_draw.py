# SPDX-License-Identifier: AGPL-3.0-or-later
"""Audits are drawn at a known rate, by nothing that a frame shows, and anybody can draw again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from hashlib import sha256
from math import comb, inf, sqrt
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.records.review.draw import (
    ASSUMED_RATE,
    FIRST_WINDOW_S,
    RATE_STEP,
    WINDOW_S,
    AuditDraw,
    audit_name,
    is_drawn,
    near_miss_name,
)

#: Two-sided: all tests of this file together fail once in a million of honest draws.
CHANCE = 1e-7


class Inspected(NamedTuple):
    """An inspected frame, and what the draw made of it."""

    sequence: int
    at_s: float
    probability: float
    taken: bool


def _inspect(draw: AuditDraw, times_s: Iterator[float], per_hour: float, first: int = 0) -> list[Inspected]:
    found = []
    for sequence, at_s in enumerate(times_s, first):
        if at_s >= draw.due_s or draw.rate.per_hour != per_hour:
            draw.fix(per_hour, sequence, at_s)
        found.append(Inspected(sequence, at_s, draw.rate.probability, draw.takes(sequence, at_s)))
    return found


def _steady(fps: float, seconds: float, since_s: float = 0.0) -> Iterator[float]:
    return (since_s + number / fps for number in range(int(seconds * fps)))


def _binomial_bounds(n: int, p: float) -> tuple[int, int]:
    """Return the counts outside of which a binomial lies with probability `CHANCE` at most, by its exact sums."""
    tail, low = 0.0, 0
    for low in range(n + 1):
        tail += comb(n, low) * p**low * (1 - p) ** (n - low)
        if tail > CHANCE / 2:
            break
    tail, high = 0.0, n
    for high in range(n, -1, -1):
        tail += comb(n, high) * p**high * (1 - p) ** (n - high)
        if tail > CHANCE / 2:
            break
    return low, high


@pytest.mark.parametrize("probability", [0.01, 0.25, 0.5, 0.9])
def test_draws_have_their_probability(probability: float) -> None:
    """Over many runs, cameras and frames the count is what a binomial can be, no more and no less."""
    names = [
        audit_name(f"{run:032x}", f"cam{camera}", frame)
        for run in range(20)
        for camera in range(5)
        for frame in range(10)
    ]
    low, high = _binomial_bounds(len(names), probability)

    assert low <= sum(is_drawn(name, probability) for name in names) <= high


@pytest.mark.parametrize(("probability", "drawn"), [(0.0, False), (1.0, True)])
def test_nothing_and_all_can_be_drawn(probability: float, drawn: bool) -> None:
    """At both ends there is no chance."""
    assert {is_drawn(audit_name("r", "c", frame), probability) for frame in range(500)} == {drawn}


def test_anybody_can_repeat_a_draw() -> None:
    """As docs/review.md says: the first 8 bytes of a SHA-256 of names, below the probability times 2^64."""
    draw, probability = AuditDraw("0f" * 16, "cam01"), 4 / 3600 / ASSUMED_RATE * 3000
    frames = _inspect(draw, iter([1.0] * 3000), 4 * 3000.0)
    own = [
        int.from_bytes(sha256(b"audit/%s/cam01/%d" % (b"0f" * 16, number)).digest()[:8]) < probability * 2**64
        for number in range(3000)
    ]

    assert [frame.taken for frame in frames] == own
    assert own == [is_drawn(audit_name("0f" * 16, "cam01", number), probability) for number in range(3000)]
    assert 0 < sum(own) < 3000


@pytest.mark.parametrize("fps", [0.5, 5.0, 25.0])
def test_as_many_an_hour_as_asked_for(fps: float) -> None:
    """At any rate of inspections, over runs of hours: within what their own probabilities allow, and near to 4."""
    hours, runs = 1.0, 8
    frames = [
        frame
        for run in range(runs)
        for frame in _inspect(AuditDraw(f"{run:032x}", "cam01"), _steady(fps, hours * 3600), 4.0)
    ]
    expected = sum(frame.probability for frame in frames)
    taken = sum(frame.taken for frame in frames)

    assert expected == pytest.approx(4 * hours * runs, rel=RATE_STEP - 1 + 0.02)
    assert abs(taken - expected) < 5.4 * sqrt(expected)


def test_probability_is_fixed_ahead_by_past_inspections() -> None:
    """Assumed at first, measured after ten seconds; then it stays until the rate is another one for a whole window."""
    draw = AuditDraw("r", "cam01")
    frames = _inspect(draw, _steady(5.0, 300.0), 4.0)
    changes = [frame for before, frame in itertools.pairwise(frames) if before.probability != frame.probability]

    assert frames[0].probability == 4 / 3600 / ASSUMED_RATE
    assert [change.at_s for change in changes] == [FIRST_WINDOW_S]
    assert frames[-1].probability == pytest.approx(4 / 3600 / 5.0)

    slower = _inspect(draw, _steady(1.0, 200.0, 300.0), 4.0, first=len(frames))
    change_s = next(frame.at_s for frame in slower if frame.probability != frames[-1].probability)
    assert change_s <= 300 + 2 * WINDOW_S
    assert slower[-1].probability == pytest.approx(4 / 3600, rel=RATE_STEP - 1)


def test_a_camera_that_was_away_has_not_become_slow() -> None:
    """After an hour without a frame, frames are not drawn as if one came every hour."""
    draw = AuditDraw("r", "cam01")
    _inspect(draw, _steady(25.0, 90.0), 4.0)
    back = _inspect(draw, _steady(25.0, 60.0, 90.0 + 3600), 4.0)

    assert back[0].probability <= 4 / 3600 / 5


def test_another_rate_holds_at_once() -> None:
    """What is asked for changes with the next frame, also to nothing and back."""
    draw = AuditDraw("r", "cam01")
    _inspect(draw, _steady(10.0, 100.0), 4.0)
    one, *_ = _inspect(draw, iter([100.0]), 40.0)
    off, *_ = _inspect(draw, iter([100.1]), 0.0)

    assert one.probability == pytest.approx(40 / 3600 / 10, rel=0.01)
    assert off.probability == 0
    assert draw.fix(0.0, 0, 100.2) is None
    assert draw.fix(4.0, 0, 100.3) is not None


@settings(deadline=None, max_examples=60)
@given(
    gaps=st.lists(st.floats(0, 500, allow_nan=False), min_size=1, max_size=300),
    rates=st.lists(st.sampled_from([0.0, 4.0, 60.0, 3600.0]), min_size=1, max_size=4),
)
def test_every_probability_is_one(gaps: list[float], rates: list[float]) -> None:
    """Whatever cameras and settings do; and `fix` returns each change, so that all of them can be known ahead."""
    draw, at_s, known = AuditDraw("r", "c"), 5.0, 0.0
    for number, gap_s in enumerate(gaps):
        at_s += gap_s
        per_hour = rates[number * len(rates) // len(gaps)]
        if at_s >= draw.due_s or draw.rate.per_hour != per_hour:
            changed = draw.fix(per_hour, number, at_s)
            known = known if changed is None else changed.probability
        assert draw.takes(number, at_s) == is_drawn(audit_name("r", "c", number), known)
        assert 0 <= known <= 1
        assert draw.due_s < inf


def test_what_a_frame_shows_cannot_change_its_draw() -> None:
    """Content that depends on anything at all: drawn and other frames show the same share of it."""
    rng = np.random.default_rng(7)
    defective = rng.random(40_000) < 0.3
    taken = np.array([is_drawn(audit_name("ab" * 16, "cam01", number), 0.25) for number in range(40_000)])
    low, high = _bounds(int(defective.sum()), 0.25)

    assert low <= int((taken & defective).sum()) <= high
    assert near_miss_name("r", "c", "1") != audit_name("r", "c", 1)


def _bounds(n: int, p: float) -> tuple[float, float]:
    spread = 5.4 * sqrt(n * p * (1 - p))
    return n * p - spread, n * p + spread


def test_a_known_number_of_misses_is_estimated_without_bias() -> None:
    """Horvitz and Thompson: each audited miss counts 1 / its probability.

    Over 400 runs in which the rate depends on what came before, the mean estimate is the true number, within its error.
    """
    errors = []
    for run in range(400):
        draw = AuditDraw(f"{run:032x}", "cam01")
        rng = np.random.default_rng(run)
        misses = estimate = 0.0
        at_s, number = 0.0, 0
        for fps in (20.0, 2.0, 8.0):
            for _ in range(int(fps * 150)):
                # Where much was missed before, the box is slower: the past may depend on content, the draw does not.
                at_s += (1 + misses / 500) / fps
                number += 1
                if at_s >= draw.due_s:
                    draw.fix(600.0, number, at_s)
                missed = rng.random() < 0.05
                misses += missed
                if draw.takes(number, at_s) and missed:
                    estimate += 1 / draw.rate.probability
        errors.append(estimate - misses)
    spread = float(np.std(errors)) / sqrt(len(errors))

    assert spread > 0
    assert abs(float(np.mean(errors))) < 4.5 * spread
