# SPDX-License-Identifier: AGPL-3.0-or-later
"""What each millisecond costs: the products of several runs, of other budgets, as they were measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vision_line.errors import ConfigError
from vision_line_compression.charts import Scale, axes, figure, label, line, marker, nice_range, path
from vision_line_compression.evaluate.results import Evaluation
from vision_line_compression.report.card import ReportCard, RowKind
from vision_line_compression.report.plots import PARENT, PRODUCT

#: The chart's two panels, pixels.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 250, 62, 130, 30, 50

_CSS = (
    "svg { font: 11px sans-serif; background: #fff } text { fill: #222 } .grid { stroke: #ddd } "
    ".axis { stroke: #222 } .parent { fill: #777; stroke: #777 } .product { fill: #1b6ca8; stroke: #1b6ca8 } "
    ".line { fill: none } .whisker { stroke-width: 1.5 } .middle { text-anchor: middle } .end { text-anchor: end }"
)


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """One model: its latency of one image in the application, its accuracy, and its misses with their interval."""

    name: str
    style: str
    ms: float
    map50_95: float
    miss_rate: float
    miss_low: float
    miss_high: float


@dataclass(frozen=True, slots=True)
class FrontierStep:
    """From one model to the next faster one: what a millisecond less costs; points are hundredths."""

    slower: MeasuredPoint
    faster: MeasuredPoint

    @property
    def sentence(self) -> str:
        """Say it."""
        saved = self.slower.ms - self.faster.ms
        accuracy = 100 * (self.faster.map50_95 - self.slower.map50_95)
        misses = 100 * (self.faster.miss_rate - self.slower.miss_rate)
        return (
            f"{self.slower.name} -> {self.faster.name}: {self.slower.ms:.2f} -> {self.faster.ms:.2f} ms, "
            f"mAP50-95 {accuracy:+.2f} points ({accuracy / saved:+.2f} a ms), "
            f"misses {misses:+.2f} points ({misses / saved:+.2f} a ms)"
        )


def measured_points(cards: Mapping[str, ReportCard]) -> tuple[MeasuredPoint, ...]:
    """Return the products of `cards`, by the names of their runs, and their common parent, the slowest first.

    Raises:
        ConfigError: they are of other images, another parent, device or input shape, or one was not timed.
    """
    (reference, card), *others = cards.items()
    first = _bases(card)
    problems = [
        f"{name}: {what}: found {found}, expected {first[what]} as in {reference}"
        for name, other in others
        for what, found in _bases(other).items()
        if found != first[what]
    ]
    if problems:
        raise ConfigError(*problems)
    points = [_point(card, RowKind.PARENT, "parent", PARENT)]
    points += [_point(card, card.product, name, PRODUCT) for name, card in cards.items()]
    return tuple(sorted(points, key=lambda point: -point.ms))


def steps(points: Sequence[MeasuredPoint]) -> tuple[FrontierStep, ...]:
    """Return from each model to the next faster one; models that are as fast are no step."""
    return tuple(FrontierStep(slower, faster) for slower, faster in pairwise(points) if slower.ms > faster.ms)


def frontier_chart(points: Sequence[MeasuredPoint]) -> str:
    """Return accuracy and misses against latency, one panel above the other, as an SVG file."""
    x = Scale(*nice_range((point.ms for point in points), from_zero=True), _LEFT, _WIDTH - _RIGHT)
    ticks = "latency of one image, ms (median)"
    accuracy = Scale(*nice_range(point.map50_95 for point in points), _HEIGHT - _BOTTOM, _TOP)
    highest = [point.miss_high for point in points]
    misses = Scale(*nice_range(highest, from_zero=True), 2 * _HEIGHT - _BOTTOM, _HEIGHT + _TOP)
    parts = [axes(x, accuracy, ticks, "mAP50-95"), axes(x, misses, ticks, "defects missed", percent=True)]
    products = [point for point in points if point.style == PRODUCT]
    parts.append(path([(x(point.ms), accuracy(point.map50_95)) for point in products], PRODUCT))
    parts.append(path([(x(point.ms), misses(point.miss_rate)) for point in products], PRODUCT))
    for point in points:
        px = x(point.ms)
        parts += [
            line(px, misses(point.miss_low), px, misses(point.miss_high), f"whisker {point.style}"),
            marker(px, accuracy(point.map50_95), "circle", point.style, f"{point.name}: {point.map50_95:.4f}"),
            marker(px, misses(point.miss_rate), "circle", point.style, f"{point.name}: {100 * point.miss_rate:.2f} %"),
            label(px + 8, accuracy(point.map50_95) - 8, point.name, "point-label"),
        ]
    return figure(_WIDTH, 2 * _HEIGHT, "".join(parts), "accuracy and misses against latency", _CSS)


def _bases(card: ReportCard) -> dict[str, str]:
    """Return what has to be alike in reports that are compared."""
    evaluation = _evaluation(card, card.product)
    speed = evaluation.speed
    return {
        "images": card.identity.data_sha256.get("judge", ""),
        "parent": card.identity.parent_sha256,
        "device": "" if speed is None else speed.device,
        "input shape": "" if speed is None else "x".join(map(str, speed.input_shape_hw)),
    }


def _evaluation(card: ReportCard, kind: RowKind) -> Evaluation:
    evaluation = card.row(kind).evaluation
    if evaluation is None or evaluation.speed is None or evaluation.accuracy.map50_95 is None:
        raise ConfigError(f"{card.identity.name}: {kind}: expected its speed, set evaluate.speed_s in the recipe")
    return evaluation


def _point(card: ReportCard, kind: RowKind, name: str, style: str) -> MeasuredPoint:
    evaluation = _evaluation(card, kind)
    rate, speed = evaluation.operating[0].miss_rate, evaluation.speed
    return MeasuredPoint(
        name=name,
        style=style,
        ms=0.0 if speed is None else speed.latency_p50_ms,
        map50_95=evaluation.accuracy.map50_95 or 0.0,
        miss_rate=rate.value or 0.0,
        miss_low=rate.low,
        miss_high=rate.high,
    )
