# SPDX-License-Identifier: AGPL-3.0-or-later
"""Suspiciously low: fewer events, or rejected parts, than chance allows: a blind model, a moved lamp, another product.

Where few events are expected, a control chart's lower limit is 0 and never calls. The exact Poisson tail does, and the
time since the last event does so at once: with `expected` events in that inspected time, none is seen with the
probability exp(-expected). Of parts it is the binomial tail: none of n is rejected with the probability (1 - share)^n.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, floor, log1p

from vision_line.quality.intervals import binomial_at_most, poisson_at_most

#: So many events must have been expected before none is suspicious: as improbable as a point below 3 sigma, 0.136 %.
EXPECTED_OF_SILENCE = 6.6


@dataclass(frozen=True, slots=True)
class EventShortage:
    """How few events or rejected parts came, against how many the baseline expects in the same time, or of as many."""

    count: int
    expected: float
    probability: float  # of so few or fewer, where nothing has changed

    @property
    def suspicious(self) -> bool:
        """Whether chance hardly does this."""
        return self.probability < exp(-EXPECTED_OF_SILENCE)


def event_shortage(count: int, rate_per_h: float, inspected_h: float) -> EventShortage:
    """Compare events with a baseline's rate; a count of 0 with the inspected time since the last event is silence."""
    if count < 0 or rate_per_h < 0 or inspected_h < 0:
        raise ValueError("counts, rates and times are not negative")
    expected = rate_per_h * inspected_h
    return EventShortage(count, expected, poisson_at_most(count, expected))


def silence_h(rate_per_h: float) -> float:
    """Return the inspected hours without an event after which silence is suspicious."""
    if rate_per_h <= 0:
        raise ValueError("where no events are expected, silence says nothing")
    return EXPECTED_OF_SILENCE / rate_per_h


def expected_false_silences(rate_per_h: float, inspected_h: float) -> float:
    """Return how often silence is called in so much inspected time where nothing has changed.

    Each event can be the last for too long: a line with 12 events an hour calls 2.7 times in a week around the clock.
    """
    return rate_per_h * inspected_h * exp(-EXPECTED_OF_SILENCE)


def reject_shortage(count: int, share: float, parts: int) -> EventShortage:
    """Compare rejected parts of so many inspected ones with a baseline's share; 0 since the last one is silence."""
    if not 0 <= count <= parts or not 0.0 <= share <= 1.0:
        raise ValueError("expected a share, and as many parts as are counted or more")
    return EventShortage(count, share * parts, binomial_at_most(count, parts, share))


def silent_parts(share: float) -> int:
    """Return the inspected parts without a reject after which silence is suspicious."""
    if not 0.0 < share < 1.0:
        raise ValueError("where no part is rejected, or every part, silence says nothing")
    return floor(-EXPECTED_OF_SILENCE / log1p(-share)) + 1


def expected_false_reject_silences(share: float, parts: float) -> float:
    """Return how often the silence of rejects is called in so many inspected parts where nothing has changed."""
    return share * parts * exp(silent_parts(share) * log1p(-share))
