# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much the score falls when a unit loses channels: measured at a few points, smoothed, read at every width."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vision_line.ports import ProgressCallback
from vision_line_compression.prune.channels import lowest_first, silenced
from vision_line_compression.prune.groups import ChannelUnit

#: Above zero and higher when better, as mAP on a small validation set; the model must be left as it was.
Score = Callable[[nn.Module], float]

#: Pairs (share of the channels kept, score), descending.
Curve = tuple[tuple[float, float], ...]

#: Shares of score and importance below this count as this.
_LEAST_SHARE = 1e-3

Ratings = Mapping[str, NDArray[np.float64]]


def measure_sensitivity(
    model: nn.Module,
    units: Sequence[ChannelUnit],
    ratings: Ratings,
    score: Score,
    probes: Sequence[float],
    progress: ProgressCallback | None = None,
) -> dict[str, Curve]:
    """Silence, for each unit alone, its least important channels and score the model.

    `probes` are shares of channels to silence; where one is below a unit's narrowest width, that width is measured.
    This calls `score` about len(units) · len(probes) times, and `progress` after each with the very number.
    """
    widths = {unit.name: _probed_widths(unit, probes) for unit in units}
    total, done = sum(map(len, widths.values())), 0

    def counted(silenced_model: nn.Module) -> float:
        nonlocal done
        value = score(silenced_model)
        done += 1
        if progress is not None:
            progress(done, total)
        return value

    return {unit.name: _curve(model, unit, ratings, counted, widths[unit.name]) for unit in units}


def measured_loss(unit: ChannelUnit, curve: Curve, parent_score: float) -> tuple[float, ...]:
    """Return -ln(share of the score that remains) at each of the unit's widths.

    A score that has sunk to nothing can sink no further, so plain differences would make deep cuts look cheap; the
    logarithm does not saturate, and sums of it multiply the shares that remain. Linear between the measured points.
    The small validation set is noisy: where it says that fewer channels score better, the loss stays what it was.
    """
    shares = np.array([1.0, *(share for share, _ in curve)])
    remaining = np.clip([1.0, *(score / parent_score for _, score in curve)], _LEAST_SHARE, 1.0)
    lost = np.maximum.accumulate(-np.log(remaining))
    wanted = np.array(unit.widths) / unit.channels
    return tuple(float(value) for value in np.interp(wanted, shares[::-1], lost[::-1]))


def rated_loss(unit: ChannelUnit, ratings: Ratings) -> tuple[float, ...]:
    """Return -ln(share of the unit's importance that remains) at each of its widths, the mean over its groups."""
    losses = []
    for group in unit.groups:
        values = np.sort(ratings[group.name])
        total = float(values.sum()) or 1.0
        remaining = [float(values[unit.channels - width :].sum()) / total for width in unit.widths]
        losses.append(-np.log(np.clip(remaining, _LEAST_SHARE, 1.0)))
    return tuple(float(value) for value in np.mean(losses, axis=0))


def summed_loss(units: Sequence[ChannelUnit], ratings: Ratings) -> list[tuple[float, ...]]:
    """Return the importance that goes at each width of each unit, in units of the mean unit's whole importance.

    For ratings that mean the same everywhere, as changes of the loss do; those of weights differ from layer to layer
    for reasons that have nothing to do with importance.
    """
    lost = [np.sum([_lowest_sums(ratings[group.name], unit.widths) for group in unit.groups], axis=0) for unit in units]
    whole = [sum(float(ratings[group.name].sum()) for group in unit.groups) for unit in units]
    scale = float(np.mean(whole or [1.0])) or 1.0
    return [tuple(float(value) / scale for value in values) for values in lost]


def _lowest_sums(values: NDArray[np.float64], widths: Sequence[int]) -> list[float]:
    ascending = np.sort(values)
    return [float(ascending[: len(values) - width].sum()) for width in widths]


def lowest_channels(unit: ChannelUnit, ratings: Ratings, width: int) -> dict[str, NDArray[np.bool_]]:
    """Mark, for each group of the unit, the channels that go when `width` stay."""
    removed = {}
    for group in unit.groups:
        mask = np.zeros(group.channels, dtype=np.bool_)
        mask[lowest_first(ratings[group.name])[: group.channels - width]] = True
        removed[group.name] = mask
    return removed


def _probed_widths(unit: ChannelUnit, probes: Sequence[float]) -> list[int]:
    return sorted({_nearest(unit, probe) for probe in probes} - {unit.channels}, reverse=True)


def _curve(model: nn.Module, unit: ChannelUnit, ratings: Ratings, score: Score, widths: Sequence[int]) -> Curve:
    points = []
    for width in widths:
        with silenced(model, unit.groups, lowest_channels(unit, ratings, width)):
            points.append((width / unit.channels, score(model)))
    return tuple(points)


def _nearest(unit: ChannelUnit, probe: float) -> int:
    wanted = (1.0 - probe) * unit.channels
    return min(unit.widths, key=lambda width: (abs(width - wanted), width))
