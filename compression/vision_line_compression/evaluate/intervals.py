# SPDX-License-Identifier: AGPL-3.0-or-later
"""How sure a count makes us: exact intervals for shares and for counts per image.

Both are found from their definition by bisection, so that no library of special functions is needed: the limits are
the parameters under which what was seen, or something further out, still has the probability (1 - confidence) / 2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from vision_line_compression.evaluate.matching import Floats
from vision_line_compression.evaluate.results import Rate

CONFIDENCE = 0.95

_HALVINGS = 60  # beyond double precision


def binomial_rate(hits: int, trials: int, confidence: float = CONFIDENCE) -> Rate:
    """Return the share `hits / trials` with its exact binomial interval.

    C. J. Clopper, E. S. Pearson, Biometrika 26 (1934) 404. Without trials the share is unknown: 0 to 1.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"expected 0 to {trials} hits, got {hits}")
    if trials == 0:
        return Rate(value=None, low=0.0, high=1.0)
    low, high = clopper_pearson(hits, trials, confidence)
    return Rate(value=hits / trials, low=low, high=high)


@lru_cache(maxsize=4096)
def clopper_pearson(hits: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact limits of a binomial share."""
    tail = (1.0 - confidence) / 2
    ways = _log_binomials(trials)
    successes = np.arange(trials + 1)

    def probability(share: float, wanted: slice) -> float:
        k = successes[wanted]
        return float(np.exp(ways[wanted] + k * np.log(share) + (trials - k) * np.log1p(-share)).sum())

    at_least, at_most = slice(hits, None), slice(None, hits + 1)
    low = 0.0 if hits == 0 else _crossing(lambda share: probability(share, at_least) - tail, 0.0, 1.0)
    high = 1.0 if hits == trials else _crossing(lambda share: tail - probability(share, at_most), 0.0, 1.0)
    return low, high


def poisson_rate(count: int, exposure: int, confidence: float = CONFIDENCE) -> Rate:
    """Return `count / exposure` (such as false detections per image) with the exact interval of a Poisson count.

    F. Garwood, Biometrika 28 (1936) 437.
    """
    if count < 0 or exposure < 1:
        raise ValueError(f"expected a count over at least one, got {count} over {exposure}")
    low, high = garwood(count, confidence)
    return Rate(value=count / exposure, low=low / exposure, high=high / exposure)


@lru_cache(maxsize=4096)
def garwood(count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact limits of the mean of a Poisson count."""
    tail = (1.0 - confidence) / 2
    events = np.arange(count + 1)
    log_factorials = _log_factorials(count)

    def at_most(mean: float, most: int) -> float:
        k = events[: most + 1]
        return float(np.exp(k * np.log(mean) - mean - log_factorials[: most + 1]).sum())

    widest = count + 20.0 + 10.0 * (count + 1) ** 0.5  # more than ten standard deviations away
    low = 0.0 if count == 0 else _crossing(lambda mean: 1.0 - at_most(mean, count - 1) - tail, 0.0, widest)
    high = _crossing(lambda mean: tail - at_most(mean, count), 0.0, widest)
    return low, high


def _crossing(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function crosses zero between `low` and `high`."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _log_factorials(most: int) -> Floats:
    """Return ln 0!, ln 1! ... ln most!."""
    logs: Floats = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])
    return logs


def _log_binomials(trials: int) -> Floats:
    logs = _log_factorials(trials)
    ways: Floats = logs[-1] - logs - logs[::-1]
    return ways
