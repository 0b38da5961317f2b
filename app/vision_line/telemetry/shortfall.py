# SPDX-License-Identifier: AGPL-3.0-or-later
"""What this machine cannot do, in one sentence: it inspects so much, so much is needed, so many cameras would work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

#: Of what a machine inspects now so much is promised to fewer cameras: they do not come evenly.
PROMISED_SHARE = 0.9


class Served(Protocol):
    """A camera that frames come from: how often it is inspected, and how often it should be."""

    @property
    def fps_inspected(self) -> float:
        """Inspections a second."""

    @property
    def needed_fps(self) -> float:
        """What it takes for every part to get its looks."""


class Rates(NamedTuple):
    """The plainest `Served`."""

    fps_inspected: float
    needed_fps: float


def shortfall(cameras: Sequence[Served]) -> str:
    """Return the sentence, "" where the machine does what these cameras need of it. Pure.

    `cameras` are those that send frames and whose need is known.
    """
    done, needed = sum(c.fps_inspected for c in cameras), sum(c.needed_fps for c in cameras)
    if done >= needed:
        return ""
    n = len(cameras)
    if n == 1:
        rates = f"{_rate(done)} frames/s of its camera, and {_rate(needed)} are needed"
        return f"this machine inspects {rates}: defects are missed; use a faster machine"
    rates = f"{_rate(done / n)} frames/s of each of {n} cameras, and {_rate(needed / n)} are needed"
    fits = how_many_fit(cameras)
    advice = f"it can serve about {fits}: use --cameras {fits}, or a faster machine" if fits else "use a faster machine"
    return f"this machine inspects {rates}: defects are missed; {advice}"


def how_many_fit(cameras: Sequence[Served]) -> int:
    """Return how many of the cameras the machine would serve fully, the least demanding first."""
    room = PROMISED_SHARE * sum(c.fps_inspected for c in cameras)
    fits = 0
    for need in sorted(c.needed_fps for c in cameras):
        room -= need
        if room < 0:
            break
        fits += 1
    return fits


def _rate(fps: float) -> str:
    return f"{fps:.1f}" if fps >= 1 else f"{fps:.2g}"
