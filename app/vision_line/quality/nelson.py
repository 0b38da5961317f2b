# SPDX-License-Identifier: AGPL-3.0-or-later
"""Nelson's eight tests for special causes: L. S. Nelson, Journal of Quality Technology 16 (1984) 237.

They look at standardised points (z), so that periods of different area can be compared. A test holds at a point when
the points up to it fulfil it, each side of the centre line for itself; while it goes on holding, that is one signal.
Test 8 asks only that no point is near the centre line, not that both sides occur.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from vision_line.quality.intervals import Floats

Mask = NDArray[np.bool_]

#: What is tested unless someone asks for more: each further test adds false alarms.
DEFAULT_TESTS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class NelsonTest:
    """One test: in words, over how many points, and where it holds in z (n,): a mask (n,) by side."""

    words: str
    points: int
    holds: Callable[[Floats], dict[int, Mask]]


@dataclass(frozen=True, slots=True, order=True)
class NelsonSignal:
    """A test that held: from the first point of the pattern to the last, as indices of z."""

    first: int
    last: int
    test: int
    side: int  # 1: above the centre line, or rising; -1: below, or falling; 0: the test knows no side


def nelson_signals(z: Floats, tests: Collection[int] = DEFAULT_TESTS) -> list[NelsonSignal]:
    """Return the signals of these tests in the standardised points z (n,), in the order of their first points."""
    return sorted(
        NelsonSignal(start - NELSON_TESTS[test].points + 1, end, test, side)
        for test in tests
        for side, mask in NELSON_TESTS[test].holds(z).items()
        for start, end in _runs(mask)
    )


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """Return first and last index of each run of True."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def _held(mask: Mask, of: int, at_least: int) -> Mask:
    """Return where at least `at_least` of the last `of` points are True; never before there are so many."""
    sums = np.cumsum(np.concatenate([[0], mask.astype(np.int64)]))
    held = np.zeros(len(mask), np.bool_)
    held[of - 1 :] = sums[of:] - sums[:-of] >= at_least
    return held


def _beyond(z: Floats, *, sigmas: float, of: int, at_least: int) -> dict[int, Mask]:
    return {1: _held(z > sigmas, of, at_least), -1: _held(z < -sigmas, of, at_least)}


def _trend(z: Floats) -> dict[int, Mask]:
    step = np.diff(z, prepend=z[:1])
    return {1: _held(step > 0, 5, 5), -1: _held(step < 0, 5, 5)}


def _alternating(z: Floats) -> dict[int, Mask]:
    step = np.diff(z, prepend=z[:1])
    turned = np.concatenate([[False], step[1:] * step[:-1] < 0])[: len(z)]
    return {0: _held(turned, 12, 12)}


def _near(z: Floats) -> dict[int, Mask]:
    return {0: _held(np.abs(z) < 1.0, 15, 15)}


def _far(z: Floats) -> dict[int, Mask]:
    return {0: _held(np.abs(z) > 1.0, 8, 8)}


NELSON_TESTS = {
    1: NelsonTest("a point beyond 3 sigma", 1, partial(_beyond, sigmas=3.0, of=1, at_least=1)),
    2: NelsonTest("9 points in a row on one side", 9, partial(_beyond, sigmas=0.0, of=9, at_least=9)),
    3: NelsonTest("6 points in a row rise, or fall", 6, _trend),
    4: NelsonTest("14 points in a row go up and down in turn", 14, _alternating),
    5: NelsonTest("2 of 3 points beyond 2 sigma, on one side", 3, partial(_beyond, sigmas=2.0, of=3, at_least=2)),
    6: NelsonTest("4 of 5 points beyond 1 sigma, on one side", 5, partial(_beyond, sigmas=1.0, of=5, at_least=4)),
    7: NelsonTest("15 points in a row within 1 sigma", 15, _near),
    8: NelsonTest("8 points in a row beyond 1 sigma", 8, _far),
}
