# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which points of a chart Nelson's tests call, whatever the points are of. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vision_line.desk.inspected.opportunity import Floats
from vision_line.quality import NELSON_TESTS, NelsonSignal, nelson_signals


@dataclass(frozen=True, slots=True)
class CalledPoints:
    """The signals by the places of their points, and of each point (n,) the tests that call it."""

    signals: Sequence[NelsonSignal]
    tests: Sequence[Sequence[int]]


def called_points(z: Floats, tests: Collection[int]) -> CalledPoints:
    """Return what these tests call in standardised points (n,)."""
    signals = nelson_signals(z, tests)
    calling: list[set[int]] = [set() for _ in z]
    for signal in signals:
        for place in range(signal.first, signal.last + 1):
            calling[place].add(signal.test)
    return CalledPoints(signals, [sorted(own) for own in calling])


def signal_words(signal: NelsonSignal) -> str:
    """Return what a test has found, in words."""
    ways = ("falling", "", "rising") if signal.test == 3 else ("below the mean", "", "above the mean")
    way = ways[signal.side + 1]
    return f"{NELSON_TESTS[signal.test].words}{f', {way}' if way else ''}"
