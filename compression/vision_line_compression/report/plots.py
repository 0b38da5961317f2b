# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plots of a report card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vision_line_compression.charts import (
    BAR_HEIGHT,
    Bar,
    Scale,
    axes,
    bars,
    figure,
    label,
    line,
    marker,
    nice_range,
    path,
    spread,
)
from vision_line_compression.evaluate.results import (
    CorruptedPoint,
    Evaluation,
    Interval,
    MissedGroup,
    PairedDifference,
    Rate,
    RobustnessComparison,
    ScoreCalibration,
    Sweep,
)
from vision_line_compression.report.card import KeptChannels, ReportCard, ReportRow, RowGroup, RowKind, SensitivityCurve

WIDTH, HEIGHT = 560, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 20, 40, 50

_SHAPES = {RowGroup.STEP: "circle", RowGroup.INT8: "diamond", RowGroup.CONTROL: "square"}

#: Not contenders: their scores would squeeze those of all others.
_UNFINISHED = frozenset({RowKind.PRUNED, RowKind.RECALIBRATED})

#: Deeper below the best, a model is drawn at the plot's lower edge, with its figure.
_DEEPEST = 0.2

#: Room for a label beside its point, pixels.
_LABEL_WIDTH = 120

#: Points so much further to the right would lie under the label, pixels.
_MARKED = 60

#: The two models that most plots hold against each other, and how they are drawn.
PARENT, PRODUCT = "parent", "product"


@dataclass(frozen=True, slots=True)
class Quality:
    """What a cost is held against: a figure of an evaluation, and its difference to the better parent."""

    title: str
    of: Callable[[Evaluation], float | None]
    difference: Callable[[PairedDifference], Interval]
    lower_is_better: bool = False


ACCURACY = Quality("mAP50-95", lambda evaluation: evaluation.accuracy.map50_95, lambda found: found.map50_95)
MISSES = Quality(
    "defects missed",
    lambda evaluation: evaluation.operating[0].miss_rate.value,
    lambda found: found.miss_rate,
    lower_is_better=True,
)


@dataclass(frozen=True, slots=True)
class _Point:
    row: ReportRow
    style: str
    x: float
    y: float
    low: float
    high: float


def trade_off(
    card: ReportCard, cost: Callable[[Evaluation], float | None], cost_label: str, quality: Quality = ACCURACY
) -> str | None:
    """Return a quality against a cost for all rows that have both, None when fewer than two have.

    Whiskers are the bootstrap interval of the difference to the better parent. Models before their training are left
    out.
    """
    rows = [row for row in card.rows if row.kind not in _UNFINISHED]
    points = [point for row in rows if (point := _trade_point(card, row, cost, quality)) is not None]
    if len(points) < 2:
        return None
    x = Scale(*nice_range((p.x for p in points), from_zero=True), _LEFT, WIDTH - _LABEL_WIDTH)
    low, high = _shown_range([p.y for p in points], quality)
    shown = [min(max(v, low), high) for p in points for v in (p.low, p.high)]
    y = Scale(*nice_range(shown, from_zero=quality.lower_is_better), HEIGHT - _BOTTOM, _TOP)
    places = _label_places([(x(p.x), y(p.y)) for p in points])
    whiskers, markers, labels = [], [], []
    for point, (text_x, text_y) in zip(points, places, strict=True):
        px, py = x(point.x), y(point.y)
        whiskers += [
            line(px, y(point.low), px, y(point.high), f"whisker {point.style}"),
            line(px + 8, py, text_x - 3, text_y, "leader"),
        ]
        markers.append(marker(px, py, _SHAPES[point.row.kind.group], point.style, f"{point.row.title}: {point.y:.4f}"))
        arrow = "↑" if quality.lower_is_better else "↓"
        text = point.row.title if low <= point.y <= high else f"{point.row.title} {arrow} {point.y:.3f}"
        labels.append(label(text_x, text_y + 4, text, f"point-label {point.style}"))
    parts = [axes(x, y, cost_label, quality.title, percent=quality.lower_is_better), *whiskers, *labels, *markers]
    return figure(WIDTH, HEIGHT, "".join(parts), f"{quality.title} against {cost_label}")


def _shown_range(values: Sequence[float], quality: Quality) -> tuple[float, float]:
    """Return from where to where values are drawn at their place; a much worse one is drawn at the edge."""
    if quality.lower_is_better:
        return 0.0, min(values) + _DEEPEST
    return max(values) - _DEEPEST, 1.0


def _label_places(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return where each point's label begins: to the right of the points near it, and not over another label."""
    places = [(0.0, 0.0)] * len(points)
    rest = sorted(range(len(points)), key=lambda index: points[index][0])
    while rest:
        near = [index for index in rest if points[index][0] < points[rest[0]][0] + _LABEL_WIDTH]
        for index, place in zip(
            near, spread([points[i][1] for i in near], 15, _TOP, HEIGHT - _BOTTOM - 6), strict=True
        ):
            x = points[index][0]
            last = max(points[other][0] for other in near if x <= points[other][0] < x + _MARKED)
            places[index] = (last + 19, place)
        rest = [index for index in rest if index not in near]
    return places


def _trade_point(
    card: ReportCard, row: ReportRow, cost: Callable[[Evaluation], float | None], quality: Quality
) -> _Point | None:
    evaluation = row.evaluation
    if evaluation is None or (y := quality.of(evaluation)) is None or (x := cost(evaluation)) is None:
        return None
    low, high = y, y
    if row.difference is not None:
        interval = quality.difference(row.difference)
        low, high = y + interval.low - interval.value, y + interval.high - interval.value
    return _Point(row, _style(card, row), x, y, low, high)


def _style(card: ReportCard, row: ReportRow) -> str:
    if row.kind is card.product:
        return PRODUCT
    return PARENT if row.kind is card.reference else row.kind.group.value


def threshold_sweep(parent: tuple[Sweep, float], product: tuple[Sweep, float]) -> str:
    """Return misses against false detections over the thresholds; each sweep comes with its operating threshold."""
    sides = {PARENT: parent, PRODUCT: product}
    # below a tenth of a percent a curve says nothing that its interval does not swallow
    curves = {
        name: [
            (max(wrong, 0.01), missed)
            for wrong, missed in zip(sweep.false_per_image, sweep.miss_rate, strict=True)
            if missed <= 0.5
        ]
        for name, (sweep, _) in sides.items()
    }
    wrong = [x for points in curves.values() for x, _ in points] or [0.01]
    top = max((y for points in curves.values() for _, y in points if y <= 0.25), default=0.1)
    x = Scale(min(*wrong, 0.1), max(*wrong, 10.0), _LEFT, WIDTH - _RIGHT, logarithmic=True)
    y = Scale(0.0, nice_range([top], from_zero=True)[1], HEIGHT - _BOTTOM, _TOP)
    parts = [axes(x, y, "false detections per image", "defects missed", percent=True)]
    for name, (sweep, threshold) in sides.items():
        parts.append(path([(x(wrong), y(missed)) for wrong, missed in curves[name] if missed <= y.high], name))
        if curves[name]:
            nearest = min(range(len(sweep.threshold)), key=lambda n: abs(sweep.threshold[n] - threshold))
            wrong_here, missed_here = max(sweep.false_per_image[nearest], 0.01), sweep.miss_rate[nearest]
            title = f"{name}: threshold {sweep.threshold[nearest]:g}"
            parts.append(marker(x(wrong_here), y(missed_here), "circle", name, title))
    return figure(WIDTH, HEIGHT, "".join(parts), "defects missed against false detections per image")


def reliability(parent: ScoreCalibration, product: ScoreCalibration) -> str:
    """Return what share of the detections of a score is right; the diagonal is a score that means what it says."""
    x, y = Scale(0, 1, _LEFT, WIDTH - _RIGHT), Scale(0, 1, HEIGHT - _BOTTOM, _TOP)
    parts = [axes(x, y, "score", "share that is right", percent=True), line(x(0), y(0), x(1), y(1), "ideal")]
    for name, one in ((PARENT, parent), (PRODUCT, product)):
        points = [
            (x(group.mean_score), y(group.precision), group.detections)
            for group in one.bins
            if group.mean_score is not None and group.precision is not None
        ]
        parts.append(path([(px, py) for px, py, _ in points], name))
        parts += [marker(px, py, "circle", name, f"{name}: {count} detections") for px, py, count in points]
    return figure(WIDTH, HEIGHT, "".join(parts), "share of right detections against their score")


def miss_intervals(parent: dict[str, MissedGroup], product: dict[str, MissedGroup]) -> str | None:
    """Return miss rates with their exact intervals, group by group; None when no group has a true box."""
    groups = [name for name, found in product.items() if found.boxes]
    if not groups:
        return None
    height = _TOP + 34 * len(groups) + _BOTTOM
    most = max(_shown_limit(side[name]) for side in (parent, product) for name in groups if name in side)
    x = Scale(0.0, nice_range([most], from_zero=True)[1], 128, WIDTH - _RIGHT)
    parts = []
    for value in x.ticks():
        parts += [
            line(x(value), _TOP - 12, x(value), height - _BOTTOM, "grid"),
            label(x(value), height - _BOTTOM + 18, f"{100 * value:g} %", "tick middle"),
        ]
    for number, name in enumerate(groups):
        middle = _TOP + 34 * number + 12
        parts.append(label(0, middle + 4, f"{name}  ({product[name].boxes})", "tick"))
        for style, side, offset in ((PARENT, parent, -6.0), (PRODUCT, product, 6.0)):
            if name in side:
                parts.append(_whisker(x, middle + offset, side[name], style))
    parts.append(label((x.start + x.end) / 2, height - _BOTTOM + 38, "defects missed", "axis-label middle"))
    return figure(WIDTH, height, "".join(parts), "miss rate with its interval by group")


def _shown_limit(found: MissedGroup) -> float:
    # the interval of a handful of boxes reaches almost to 1 and would squeeze all others
    value = found.miss_rate.value or 0.0
    return min(found.miss_rate.high, max(3 * value, 0.15)) if found.boxes else 0.0


def _whisker(x: Scale, y: float, found: MissedGroup, style: str) -> str:
    rate = found.miss_rate
    if rate.value is None:
        return ""
    title = f"{style}: {found.missed} of {found.boxes}, {100 * rate.low:.2f} to {100 * rate.high:.2f} %"
    return line(x(rate.low), y, x(rate.high), y, f"whisker {style}") + marker(x(rate.value), y, "circle", style, title)


def kept_channels(channels: Sequence[KeptChannels]) -> str:
    """Return a bar for each group of layers, in two columns: its channels, of which the filled part stays."""
    half = -(-len(channels) // 2)
    most = max(one.channels for one in channels)
    rows = [Bar(one.name, one.channels, one.kept, one.stage) for one in channels]
    content = bars(rows[:half], most, top=6) + bars(rows[half:], most, WIDTH + 20, top=6)
    return figure(2 * WIDTH, half * BAR_HEIGHT + 12, content, "channels kept in each group of layers")


def sensitivity(curves: Sequence[SensitivityCurve], named: int = 4) -> str:
    """Return what remains of the score when one unit alone loses channels; the most sensitive are named."""
    x = Scale(0.0, max(1 - min(one.kept_share) for one in curves), _LEFT, 2 * WIDTH - 190)
    lowest = min(min(one.score_share) for one in curves)
    y = Scale(nice_range([lowest, 1.0])[0], 1.02, HEIGHT - _BOTTOM, _TOP)
    worst = sorted(curves, key=lambda one: min(one.score_share))[:named]
    parts = [axes(x, y, "share of the unit's channels removed", "score kept", percent=True)]
    for one in sorted(curves, key=lambda one: one in worst):
        points = [(x(1 - kept), y(share)) for kept, share in zip(one.kept_share, one.score_share, strict=True)]
        parts.append(path(points, "sensitive" if one in worst else "calm"))
    ends = [(x(1 - one.kept_share[-1]), y(one.score_share[-1])) for one in worst]
    texts = spread([end for _, end in ends], 15, _TOP, HEIGHT - _BOTTOM)
    parts += [
        label(end_x + 8, text_y + 4, one.name, "point-label sensitive-label")
        for one, (end_x, _), text_y in zip(worst, ends, texts, strict=True)
    ]
    return figure(2 * WIDTH, HEIGHT, "".join(parts), "share of the score kept against channels removed")


def corrupted_false(comparison: RobustnessComparison) -> str:
    """Return false detections per image by severity, one small plot for each corruption."""
    return _by_severity(comparison, lambda point: point.false_per_image, "false detections per image")


def corrupted_misses(comparison: RobustnessComparison) -> str:
    """Return the share of defects missed by severity, likewise."""
    return _by_severity(comparison, lambda point: point.miss_rate, "share of defects missed")


def _by_severity(comparison: RobustnessComparison, figure_of: Callable[[CorruptedPoint], Rate], name: str) -> str:
    sides = {PARENT: comparison.reference, PRODUCT: comparison.candidate}
    table = {
        side: {(point.corruption, point.severity): figure_of(point).value or 0.0 for point in one.points}
        for side, one in sides.items()
    }
    ways = list(dict.fromkeys(way for way, severity in table[PRODUCT] if severity))
    top = nice_range([value for side in table.values() for value in side.values()], from_zero=True)[1]
    parts = []
    for index, way in enumerate(ways):
        left = 46 + index * 178
        x, y = Scale(0, 3, left, left + 138), Scale(0.0, top, 168, 34)
        parts.append(label(left, 16, way, "panel"))
        parts += [line(left, y(value), left + 138, y(value), "grid") for value in y.ticks(3)]
        if index == 0:
            parts += [label(left - 8, y(value) + 4, f"{value:g}", "tick end") for value in y.ticks(3)]
        parts += [label(x(severity), 186, str(severity), "tick middle") for severity in range(4)]
        for style, side in table.items():
            points = [(x(s), y(side["none", 0] if s == 0 else side[way, s])) for s in range(4)]
            parts.append(path(points, style))
            parts += [marker(px, py, "circle", f"{style} small") for px, py in points]
    return figure(46 + 178 * len(ways), 196, "".join(parts), f"{name} by severity of corruption")
