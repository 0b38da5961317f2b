# SPDX-License-Identifier: AGPL-3.0-or-later
"""Missing capacity in one sentence: the achieved rate, the required one, and how many cameras would work, smoothed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import accumulate, takewhile
from statistics import median_low
from typing import NamedTuple, Protocol

#: Share of the present rate that is promised to fewer cameras, since frames do not come evenly.
PROMISED_SHARE = 0.9

#: The shown number follows the median of this time.
WINDOW_S = 30.0


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


class SteadyNumber:
    """Follows a noisy number down at once, and up only by two or more: for a number that promises capacity.

    A number that alternates between two neighbours is shown as the lower one.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, int]] = deque()  # when (monotonic seconds), number
        self._shown: int | None = None

    def show(self, number: int, now_s: float) -> int:
        """Return what to show now that `number` is measured."""
        if self._recent and now_s - self._recent[-1][0] > WINDOW_S:
            self._shown = None  # it was not read for this long
        self._recent.append((now_s, number))
        while now_s - self._recent[0][0] > WINDOW_S:
            self._recent.popleft()
        usual = median_low(number for _, number in self._recent)
        if self._shown is None or usual < self._shown or usual > self._shown + 1:
            self._shown = usual
        return self._shown
