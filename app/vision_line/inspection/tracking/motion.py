# SPDX-License-Identifier: AGPL-3.0-or-later
"""Motion model of the belt: the probability of each image shift over an interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, hypot, pi, sqrt, tau

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (n, 2) x, y in pixels

#: A box centre's standard error, as a share of the frame's diagonal: 2.2 pixels at 640x360.
CENTRE_ERROR = 0.003
#: Shortest time in which a belt carries a part across the frame's diagonal; a faster shift is a wrong match.
FASTEST_CROSSING_S = 0.5
#: Longest shift between two inspected frames, as a share of the diagonal: a defect must be observed more than once.
LONGEST_SHIFT = 0.6
#: A belt holds its speed to this share over one second, apart from starts and stops.
SPEED_DRIFT = 0.10
#: How far beyond its cruising speed a belt may run.
OVERSPEED = 1.4
#: Time constant with which the remembered cruising speed decays without confirmation.
CRUISE_MEMORY_S = 60.0
#: Number of agreeing measurements after which the velocity is trusted.
TRUSTED_MEASUREMENTS = 2


@dataclass(frozen=True, slots=True)
class _Mixture:
    """Weights of the ways a belt can move: as before, along its direction, against it, in any way."""

    steady: float
    forward: float
    backward: float
    any: float


# `steady` means standing here. It is small though belts often stand: defects that enter one by one look like that.
_UNKNOWN = _Mixture(0.001, 0.0, 0.0, 0.999)
_GUESSED = _Mixture(0.50, 0.0, 0.0, 0.50)
_STANDING = _Mixture(0.80, 0.0, 0.0, 0.20)
_TRUSTED = _Mixture(0.88, 0.10, 0.02, 1e-6)  # a known belt does not jump; a false detection is likelier

#: Each frame in a row that no shift explains multiplies the weight of "any", up to a limit: the model may be wrong.
DOUBT_FACTOR = 100.0
MOST_DOUBT = 0.3


class BeltMotion:
    """The velocity of one camera's belt, learned from the common shifts of its defects.

    All defects on a belt share one shift per interval. The model is a mixture: a normal distribution around the last
    velocity; stop, start and ramp (any shift from zero to well over the cruising speed along the known direction);
    reverse; and, while little is known, any shift within reach. Units are pixels of the frame (y down) and seconds.
    """

    def __init__(self, size_wh: tuple[int, int]) -> None:
        """Start without a measurement, for frames of `size_wh` pixels."""
        self._diagonal = hypot(*size_wh)
        self.centre_error = CENTRE_ERROR * self._diagonal
        self._velocity = (0.0, 0.0)
        self._velocity_error = 0.0
        self._agreeing = 0
        self._measured = False
        self._cruise = (0.0, 0.0)
        self._doubts = 0

    @property
    def trusted(self) -> bool:
        """Whether several measurements in a row agree."""
        return self._agreeing >= TRUSTED_MEASUREMENTS

    def expected_shift(self, dt_s: float) -> tuple[float, float]:
        """Return the shift that a belt at the believed velocity makes in `dt_s`."""
        return self._velocity[0] * dt_s, self._velocity[1] * dt_s

    def shift_error(self, dt_s: float) -> float:
        """Return the standard error of `expected_shift`, in pixels along each axis."""
        drift = SPEED_DRIFT * hypot(*self._velocity) * dt_s * sqrt(min(dt_s, 1.0))
        return sqrt(0.25 * self.centre_error**2 + (self._velocity_error * dt_s) ** 2 + drift**2)

    def log_density(self, shifts: Points, dt_s: float) -> NDArray[np.float64]:
        """Return (n,): the log of the probability density, per square pixel, of each of n shifts over `dt_s`."""
        mixture = self._mixture()
        density = mixture.steady * self._steady(shifts, dt_s)
        if mixture.forward:
            along, across = self._line_coordinates(shifts)
            length = hypot(*self._cruise) * dt_s * OVERSPEED + 2 * self.centre_error
            width = self.centre_error + 0.05 * length
            lateral = np.exp(-0.5 * (across / width) ** 2) / (width * sqrt(tau) * length)
            slack = self.centre_error
            density += mixture.forward * lateral * ((along >= -slack) & (along <= length - slack))
            density += mixture.backward * lateral * ((along < 0) & (along >= -length))
        reach = min(self._diagonal / FASTEST_CROSSING_S * dt_s + 3 * self.centre_error, LONGEST_SHIFT * self._diagonal)
        within = np.add.reduce(shifts * shifts, axis=1) <= reach * reach
        anyhow = max(mixture.any, min(MOST_DOUBT, mixture.any * DOUBT_FACTOR**self._doubts))
        density += anyhow * within / (pi * reach * reach)
        return np.asarray(np.log(density + 1e-30))

    def learn(self, shift: tuple[float, float], dt_s: float, shift_error: float) -> None:
        """Update with a measured shift over `dt_s` with its standard error in pixels along each axis.

        A scalar Kalman step while the measurement agrees with the belief; a fresh start when it does not, because
        belts stop and start within one interval.
        """
        measured = (shift[0] / dt_s, shift[1] / dt_s)
        error = shift_error / dt_s
        believed = sqrt(self._velocity_error**2 + (SPEED_DRIFT * hypot(*self._velocity)) ** 2 * min(dt_s, 1.0))
        surprise = hypot(measured[0] - self._velocity[0], measured[1] - self._velocity[1])
        if self._measured and surprise <= 3 * hypot(believed, error):
            gain = believed**2 / (believed**2 + error**2) if believed else 0.0
            self._velocity = _blend(self._velocity, measured, gain)
            self._velocity_error = sqrt(1 - gain) * believed
            self._agreeing += 1
        else:
            self._velocity, self._velocity_error = measured, error
            self._agreeing = 0
        self._measured = True
        self._doubts = 0
        self._remember_cruise(dt_s)

    def doubt(self) -> None:
        """Note that no shift explains a frame that has both tracks and detections."""
        self._doubts = min(self._doubts + 1, 8)

    def _remember_cruise(self, dt_s: float) -> None:
        fade = exp(-dt_s / CRUISE_MEMORY_S)
        self._cruise = (self._cruise[0] * fade, self._cruise[1] * fade)
        # The error must be well below the speed, or the noise of a standing belt would set a direction.
        if self.trusted and hypot(*self._velocity) >= max(hypot(*self._cruise), 4 * self._velocity_error):
            self._cruise = self._velocity

    def _mixture(self) -> _Mixture:
        if not self._measured:
            return _UNKNOWN
        if hypot(*self._cruise) > 0:
            return _TRUSTED
        if not self.trusted:
            return _GUESSED
        return _STANDING

    def _steady(self, shifts: Points, dt_s: float) -> NDArray[np.float64]:
        error = self.shift_error(dt_s)
        off = shifts - np.asarray(self.expected_shift(dt_s))
        return np.asarray(np.exp(-0.5 * np.add.reduce(off * off, axis=1) / error**2) / (tau * error**2))

    def _line_coordinates(self, shifts: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        speed = hypot(*self._cruise)
        ux, uy = self._cruise[0] / speed, self._cruise[1] / speed
        return shifts[:, 0] * ux + shifts[:, 1] * uy, shifts[:, 1] * ux - shifts[:, 0] * uy


def _blend(old: tuple[float, float], new: tuple[float, float], gain: float) -> tuple[float, float]:
    return old[0] + gain * (new[0] - old[0]), old[1] + gain * (new[1] - old[1])
