# SPDX-License-Identifier: AGPL-3.0-or-later
"""How sure a count makes us: exact intervals for shares and for Poisson counts, and the tails that they come from.

The intervals are found from their definition by bisection, so that no library of special functions is needed: the
limits are the parameters under which what was seen, or something further out, still has the probability
(1 - confidence) / 2. Each call takes time and memory in proportion to the count, of a share to
the smaller one of hits and misses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import lgamma

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95

_HALVINGS = 60  # beyond double precision


@lru_cache(maxsize=4096)
def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact limits of a binomial share; without trials it is unknown: 0 to 1.

    C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"expected 0 to {trials} hits, got {hits}")
    if 2 * hits > trials:  # by the smaller number, of which all take their time
        low, high = clopper_pearson(trials - hits, trials, confidence)
        return 1.0 - high, 1.0 - low
    tail = (1.0 - confidence) / 2

    def at_least(share: float) -> float:
        return 1.0 - binomial_at_most(hits - 1, trials, share)

    low = 0.0 if hits == 0 else _crossing(lambda share: at_least(share) - tail, 0.0, 1.0)
    high = 1.0 if hits == trials else _crossing(lambda share: tail - binomial_at_most(hits, trials, share), 0.0, 1.0)
    return low, high


@lru_cache(maxsize=4096)
def garwood(count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact limits of the mean of a Poisson count; divide both by the exposure to have those of a rate.

    F. Garwood, Biometrika 28 (1936) 437.
    """
    if count < 0:
        raise ValueError(f"expected a count, got {count}")
    tail = (1.0 - confidence) / 2
    widest = count + 20.0 + 10.0 * (count + 1) ** 0.5  # more than ten standard deviations away
    low = 0.0 if count == 0 else _crossing(lambda mean: poisson_at_least(count, mean) - tail, 0.0, widest)
    high = _crossing(lambda mean: tail - poisson_at_most(count, mean), 0.0, widest)
    return low, high


def poisson_at_most(count: int, mean: float) -> float:
    """Return the probability that a Poisson count of this mean is `count` or less."""
    if mean == 0.0:
        return float(count >= 0)
    k = np.arange(count + 1)
    return min(1.0, float(np.exp(k * np.log(mean) - mean - _log_factorials(count)).sum()))


def binomial_at_most(count: int, trials: int, share: float) -> float:
    """Return the probability that `count` or fewer of so many trials hit, each with the probability `share`."""
    if trials < 0 or not 0.0 <= share <= 1.0:
        raise ValueError(f"expected trials and a share from 0 to 1, got {trials} and {share}")
    if count >= trials or share == 0.0:
        return float(count >= 0)
    if count < 0 or share == 1.0:
        return 0.0
    k = np.arange(count + 1)
    ways = _log_ways(count, trials)
    return min(1.0, float(np.exp(ways + k * np.log(share) + (trials - k) * np.log1p(-share)).sum()))


def poisson_at_least(count: int, mean: float) -> float:
    """Return the probability that a Poisson count of this mean is `count` or more."""
    return 1.0 - poisson_at_most(count - 1, mean)


def _crossing(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function crosses zero between `low` and `high`."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@lru_cache(maxsize=16)
def _log_factorials(most: int) -> Floats:
    """Return ln 0!, ln 1! ... ln most!; nothing for -1."""
    logs: Floats = np.fromiter(map(lgamma, range(1, most + 2)), np.float64, most + 1)
    logs.setflags(write=False)  # it is handed out again
    return logs


@lru_cache(maxsize=16)
def _log_ways(most: int, trials: int) -> Floats:
    """Return the logarithms of how many ways there are to choose 0, 1 ... `most` of the trials."""
    k = np.arange(most + 1)
    factors = np.log(trials - k[:-1]) - np.log(k[1:])  # of each, from the one before
    ways: Floats = np.concatenate([[0.0], np.cumsum(factors)])
    ways.setflags(write=False)  # it is handed out again
    return ways
