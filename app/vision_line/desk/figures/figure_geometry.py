# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the curves of thresholds and the points of a trend are drawn: x from the left, y from the top. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vision_line.desk.local_time import ChosenTime
from vision_line.reviews.figures.review_figures import ModelFigures, ThresholdCurve, TrendPoint

WIDTH, HEIGHT = 720.0, 200.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 8.0, 10.0, 24.0
_ZERO = HEIGHT - _BOTTOM


@dataclass(frozen=True, slots=True)
class CurveGeometry:
    """Three curves over thresholds; `highest` is the number of items at the top, marks are (x, threshold)."""

    true_calls: str
    false_calls: str
    missed: str
    highest: float
    marks: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class PlacedPrecision:
    """A model's precision on one day: its middle, and its interval from `y_high` at the top to `y_low`."""

    point: TrendPoint
    x: float
    y: float
    y_low: float
    y_high: float


@dataclass(frozen=True, slots=True)
class ModelTrend:
    """The points of one model; `number` tells its line and sign from others."""

    number: int
    model: ModelFigures
    points: Sequence[PlacedPrecision]
    line: str


def curve_geometry(curve: ThresholdCurve) -> CurveGeometry | None:
    """Return where the curves are, None where there are none."""
    if curve.refused:
        return None
    effects = curve.effects
    highest = max(1.0, *(max(one.true_calls, one.false_calls, one.missed) for one in effects))
    begins, ends = effects[0].threshold, max(effects[-1].threshold, effects[0].threshold + 0.01)

    def x(threshold: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (threshold - begins) / (ends - begins)

    def line(values: Sequence[float]) -> str:
        places = zip(effects, values, strict=True)
        return " ".join(f"{x(one.threshold):.1f},{_y(value / highest):.1f}" for one, value in places)

    tenths = [n / 10 for n in range(11) if begins <= n / 10 <= ends]
    return CurveGeometry(
        true_calls=line([one.true_calls for one in effects]),
        false_calls=line([one.false_calls for one in effects]),
        missed=line([one.missed for one in effects]),
        highest=highest,
        marks=[(x(one), one) for one in tenths],
    )


def trend_geometry(models: Sequence[ModelFigures], time: ChosenTime) -> list[ModelTrend]:
    """Return where each model's points are; models without one are left out."""

    def x(utc: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (utc - time.since_utc) / time.length_s

    return [_trend(number, model, x) for number, model in enumerate(m for m in models if m.trend)]


def _trend(number: int, model: ModelFigures, x: Callable[[float], float]) -> ModelTrend:
    points = [
        PlacedPrecision(
            point,
            max(_LEFT, x((point.since_utc + point.until_utc) / 2)),  # of a day that began before the time
            _y(point.precision.value),
            _y(point.precision.low),
            _y(point.precision.high),
        )
        for point in model.trend
    ]
    return ModelTrend(number, model, points, " ".join(f"{one.x:.1f},{one.y:.1f}" for one in points))


def _y(share: float) -> float:
    return _ZERO - (_ZERO - _TOP) * share
