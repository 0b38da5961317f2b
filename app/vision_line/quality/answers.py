# SPDX-License-Identifier: AGPL-3.0-or-later
"""A figure with its interval, or the reason why there is none: a figure that nothing supports is never shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BoundedFigure:
    """A figure and what it may be."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no figure, in words for who asked for it."""

    reason: str
