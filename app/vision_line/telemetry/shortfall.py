# SPDX-License-Identifier: AGPL-3.0-or-later
"""Missing capacity in one sentence: the achieved rate, the required rate, and how many cameras would work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, takewhile
from typing import NamedTuple, Protocol

#: Share of the present rate that is promised to fewer cameras, since frames do not come evenly.
PROMISED_SHARE = 0.9


class Served(Protocol):
    """A camera that sends frames: its inspection rate and the required one."""

    @property
    def fps_inspected(self) -> float:
        """Inspections a second."""

    @property
    def needed_fps(self) -> float:
        """Inspections per second that every part needs."""


class Rates(NamedTuple):
    """A minimal `Served`."""

    fps_inspected: float
    needed_fps: float


def as_measured(fits: int) -> int:
    """Return the number unchanged: for a sentence that is shown once."""
    return fits


def shortfall(cameras: Sequence[Served], steady: Callable[[int], int] = as_measured) -> str:
    """Return the sentence, "" where the machine meets the need; the advice comes first. Pure.

    `cameras` are those that send frames and whose need is known, in the order of the configuration. `steady`
    smooths the number of them that the machine could serve.
    """
    done, needed = sum(c.fps_inspected for c in cameras), sum(c.needed_fps for c in cameras)
    if done >= needed:
        return ""
    n = len(cameras)
    fits = steady(how_many_fit(cameras))
    advice = f"--cameras {fits} works here" if fits else "use a faster machine"
    whose = "its camera" if n == 1 else f"each of {n} cameras"
    rates = f"{_rate(done / n)} frames/s of {whose}, and {_rate(needed / n)} are needed"
    return f"{advice}: this machine inspects {rates}; defects are missed"


def how_many_fit(cameras: Sequence[Served]) -> int:
    """Return how many cameras, counted from the first as `--cameras` does, the machine would serve fully."""
    room = PROMISED_SHARE * sum(c.fps_inspected for c in cameras)
    needs = accumulate(camera.needed_fps for camera in cameras)
    return sum(1 for _ in takewhile(lambda need: need <= room, needs))


def _rate(fps: float) -> str:
    return f"{fps:.1f}" if fps >= 1 else f"{fps:.2g}"
