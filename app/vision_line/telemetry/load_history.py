# SPDX-License-Identifier: AGPL-3.0-or-later
"""GPU load over a run: mean and peak of each figure, from samples."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from vision_line.ports import DeviceLoad

#: Fields of `DeviceLoad` with a mean and a peak.
_FIGURES = ("memory_used_mb", "sm_percent", "decoder_percent", "power_w", "temperature_c")


@dataclass(frozen=True, slots=True)
class LoadFigure:
    """One figure over the run: mean and maximum of the samples that have it."""

    mean: float
    max: float


@dataclass(frozen=True, slots=True)
class LoadTotals:
    """One GPU over the run; None: never reported."""

    name: str
    samples: int
    memory_total_mb: int
    memory_used_mb: LoadFigure | None
    sm_percent: LoadFigure | None
    decoder_percent: LoadFigure | None
    power_w: LoadFigure | None
    temperature_c: LoadFigure | None
    energy_j: float | None  # between the first and the last sample


class LoadHistory:
    """Takes samples from one thread; any thread reads. A sum, a count and a peak are kept of each figure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gpus: dict[str, _Gpu] = {}
        self._latest: tuple[DeviceLoad, ...] = ()

    @property
    def latest(self) -> tuple[DeviceLoad, ...]:
        """Return the newest sample."""
        return self._latest

    def note(self, loads: Sequence[DeviceLoad]) -> None:
        """Take a sample of all GPUs; empty when they report nothing any more."""
        with self._lock:
            self._latest = tuple(loads)
            for load in loads:
                self._gpus.setdefault(load.name, _Gpu(load)).note(load)

    def totals(self) -> tuple[LoadTotals, ...]:
        """Return each GPU's figures over all samples, in the order in which the GPUs were first seen."""
        with self._lock:
            return tuple(gpu.totals() for gpu in self._gpus.values())


class _Gpu:
    """Sums and peaks of one GPU's samples."""

    def __init__(self, first: DeviceLoad) -> None:
        self._first = self._last = first
        self._samples = 0
        self._counts = dict.fromkeys(_FIGURES, 0)
        self._sums = dict.fromkeys(_FIGURES, 0.0)
        self._peaks = dict.fromkeys(_FIGURES, 0.0)

    def note(self, load: DeviceLoad) -> None:
        self._last = load
        self._samples += 1
        for name in _FIGURES:
            if (value := getattr(load, name)) is not None:
                self._counts[name] += 1
                self._sums[name] += value
                self._peaks[name] = max(self._peaks[name], value)

    def totals(self) -> LoadTotals:
        first_j, last_j = self._first.energy_j, self._last.energy_j
        figures = {
            name: LoadFigure(self._sums[name] / count, self._peaks[name]) if count else None
            for name, count in self._counts.items()
        }
        return LoadTotals(
            name=self._last.name,
            samples=self._samples,
            memory_total_mb=self._last.memory_total_mb,
            energy_j=None if first_j is None or last_j is None else last_j - first_j,
            **figures,
        )
