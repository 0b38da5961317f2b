# SPDX-License-Identifier: AGPL-3.0-or-later
"""How often tests signal where nothing is wrong: the price of every chart and every test that is added.

A false alarm is the start of a signal. Its rate per point follows from independent standard normal points: from the
binomial distribution for what counts points, and from permutations for what compares neighbours. Tests are added up,
so that two tests which call the same points count twice.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from itertools import product
from math import ceil, erfc, factorial, floor, sqrt

from vision_line.quality.control_charts import WIDTH
from vision_line.quality.intervals import binomial_at_most, poisson_at_least, poisson_at_most
from vision_line.quality.nelson import DEFAULT_TESTS

#: How many orders of 14 and 15 values alternate (sequence A001250 of the On-Line Encyclopedia of Integer Sequences).
_ALTERNATING = {14: 398_721_962, 15: 3_807_514_624}


def expected_false_alarms(charts: int, points: float, tests: Collection[int] = DEFAULT_TESTS) -> float:
    """Return the false alarms to expect of so many charts with so many points each, such as those of a week."""
    return charts * points * sum(false_alarm_rate(test) for test in tests)


@lru_cache
def false_alarm_rate(test: int) -> float:
    """Return how often one of Nelson's tests starts to hold, per point of a process in control."""
    near = 1.0 - 2.0 * _above(1.0)
    return {
        1: 2.0 * _starts(_above(3.0), of=1, at_least=1),
        2: 2.0 * _starts(_above(0.0), of=9, at_least=9),
        3: 2.0 * (1 / factorial(6) - 1 / factorial(7)),  # 6 rise, and not already 7
        4: _ALTERNATING[14] / factorial(14) - _ALTERNATING[15] / factorial(15),
        5: 2.0 * _starts(_above(2.0), of=3, at_least=2),
        6: 2.0 * _starts(_above(1.0), of=5, at_least=4),
        7: _starts(near, of=15, at_least=15),
        8: _starts(1.0 - near, of=8, at_least=8),
    }[test]


def beyond_limits_rate(expected: float) -> float:
    """Return how often a Poisson count lies outside of a u chart's limits, for so many expected events in the period.

    The normal distribution says 0.27 %; with few expected events the upper limit is passed more often than that.
    """
    distance = WIDTH * sqrt(expected)
    above = poisson_at_least(floor(expected + distance) + 1, expected)
    return above + poisson_at_most(ceil(expected - distance) - 1, expected)


def beyond_share_limits_rate(share: float, parts: int) -> float:
    """Return how often so many parts, of which `share` are rejected in the long run, lie outside of a p chart's limits.

    With few expected rejects that is more often than the 0.27 % of the normal distribution, too.
    """
    expected, distance = share * parts, WIDTH * sqrt(share * (1.0 - share) * parts)
    above = 1.0 - binomial_at_most(floor(expected + distance), parts, share)
    return above + binomial_at_most(ceil(expected - distance) - 1, parts, share)


def _above(sigmas: float) -> float:
    return erfc(sigmas / sqrt(2.0)) / 2.0


def _starts(share: float, *, of: int, at_least: int) -> float:
    """Return the probability that `at_least` of the last `of` points are hit now, and were not one point ago."""
    if of == at_least:
        return (1.0 - share) * share**of
    rate = 0.0
    for hits in product((0, 1), repeat=of + 1):
        if sum(hits[1:]) >= at_least > sum(hits[:-1]):
            rate += share ** sum(hits) * (1.0 - share) ** (of + 1 - sum(hits))
    return rate
