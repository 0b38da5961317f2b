# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report card as one HTML file: what its plots show and how figures are written; the page is `page.html.jinja`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from vision_line_compression.evaluate.results import Evaluation, Interval, RobustnessComparison
from vision_line_compression.files import write_whole
from vision_line_compression.report import plots
from vision_line_compression.report.card import REPORT_FILE, ReportCard, RowGroup

PAGE_FILE = "report.html"

_STAGES = (("p1", "stem"), ("p2", "P2"), ("p3", "P3"), ("p4", "P4"), ("p5", "P5"), ("head", "head"))
_PARENT_AND_PRODUCT = ((plots.PARENT, "better parent"), (plots.PRODUCT, "product"))

_GROUP_TITLES = {
    RowGroup.STEP: "Steps",
    RowGroup.INT8: "INT8, by calibration method",
    RowGroup.CONTROL: "Controls: what the steps have to beat",
}
_GATE_TITLES = {
    "map50_95_drop": "mAP50-95 drop",
    "map50_drop": "mAP50 drop",
    "mask_map50_95_drop": "mAP50-95 drop of masks",
    "class_recall_drop": "Recall drop of a class",
    "miss_rate": "Miss rate",
    "miss_rate_within_parent": "Miss rate within the parent's interval",
    "corrupted_miss_rise": "Misses on corrupted images",
    "params_ratio": "Parameters",
    "macs_ratio": "Multiply-accumulates",
    "onnx_ratio": "ONNX file",
    "speedup": "Throughput",
}


@dataclass(frozen=True, slots=True)
class _Plot:
    """A plot under its title; without `svg` it was not run. `legend` has the styles and their names."""

    title: str
    text: str
    svg: str | None
    legend: tuple[tuple[str, str], ...] = ()
    wide: bool = False


def write_report(card: ReportCard, folder: Path) -> Path:
    """Write `report.json` and `report.html` into `folder`, which is made; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    card.write(folder / REPORT_FILE)
    write_whole(folder / PAGE_FILE, render_page(card).encode())
    return folder / PAGE_FILE


def render_page(card: ReportCard) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("vision_line_compression", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "gate_figure": _gate_figure,
        "percent": _percent,
        "sentence": _sentence,
        "signed": _signed,
        "times": _times,
    }
    product = card.row(card.product)
    return environment.get_template("page.html.jinja").render(
        card=card,
        product=product,
        reference=card.row(card.reference),
        plots=tuple(_plots(card)),
        drawn=_drawn(card),
        counted="exact" if card.grouped is None else "over the same groups and never narrower than the exact one",
        gate_titles=_GATE_TITLES,
        group_titles=_GROUP_TITLES,
        has_masks=product.evaluation is not None and product.evaluation.accuracy.masks is not None,
    )


def _drawn(card: ReportCard) -> str:
    return "images" if card.grouped is None else f"{card.grouped.groups} groups of images ({card.grouped.by})"


def _plots(card: ReportCard) -> Iterator[_Plot]:
    reference, product = card.row(card.reference).evaluation, card.row(card.product).evaluation
    text = "Up and left is better. Whiskers: 95 % of the difference. Circles: steps, diamonds: INT8, squares: controls."
    yield _Plot("Accuracy and latency", text, plots.trade_off(card, _latency, "latency, ms (median)"))
    misses = plots.trade_off(card, _latency, "latency, ms (median)", plots.MISSES)
    yield _Plot("Misses and latency", "Down and left is better, at the operating threshold.", misses)
    yield _Plot("Accuracy and size", text, plots.trade_off(card, _megabytes, "ONNX file, MB"))
    if reference is not None and product is not None:
        yield from _comparisons(reference, product)
    yield from _corrupted(card.robustness)
    curves = plots.sensitivity(card.sensitivity) if card.sensitivity else None
    text = "Each line is one unit of the network, as it was before the last step of pruning, that loses channels alone."
    yield _Plot("Sensitivity", text, curves, wide=True)
    kept = plots.kept_channels(card.kept_channels) if card.kept_channels else None
    yield _Plot("Kept channels", "Filled: stays. Colour: place in the network.", kept, _STAGES, wide=True)


def _comparisons(reference: Evaluation, product: Evaluation) -> Iterator[_Plot]:
    first, second = reference.operating[0], product.operating[0]
    at, both = f"At IoU {second.match_iou:g}", _PARENT_AND_PRODUCT
    costs = plots.threshold_sweep((reference.sweep[0], first.threshold), (product.sweep[0], second.threshold))
    text = f"{at}; down and left is better, dots are the operating thresholds."
    yield _Plot("What a threshold costs", text, costs, both)
    scores = plots.reliability(reference.calibration, product.calibration)
    yield _Plot("Score calibration", "On the diagonal a score means what it says.", scores, both)
    intervals = "exact intervals" if second.groups is None else "intervals over groups of images"
    sizes = plots.miss_intervals(first.by_longer_side, second.by_longer_side)
    text = f"{at}, by the longer side in input pixels (number of defects), {intervals}."
    yield _Plot("Misses by size", text, sizes, both)
    classes = plots.miss_intervals(first.by_class, second.by_class)
    yield _Plot("Misses by class", f"{at} (number of defects), {intervals}.", classes, both)


def _corrupted(found: RobustnessComparison | None) -> Iterator[_Plot]:
    sides = ((plots.PARENT, "float"), (plots.PRODUCT, "quantized"))
    misses, wrong = "Corrupted images: defects missed", "Corrupted images: false detections"
    if found is None:
        yield _Plot(misses, "By rain, fog, blur, noise and wrong exposure, float against quantized.", None)
        yield _Plot(wrong, "Float against quantized.", None)
        return
    images = f"at severities 0 to 3 on {found.candidate.images} images. Quantized minus float over all"
    text = f"Share missed {images}: {_change(found.miss_rate, 100, 2)} points."
    yield _Plot(misses, text, plots.corrupted_misses(found), sides, wide=True)
    text = f"False detections per image {images}: {_change(found.false_per_image, 1, 3)}."
    yield _Plot(wrong, text, plots.corrupted_false(found), sides, wide=True)


def _change(found: Interval, factor: float, digits: int) -> str:
    value, low, high = (_signed(factor * one, digits) for one in (found.value, found.low, found.high))
    return f"{value}, 95 %: {low} … {high}{' (noise)' if found.is_noise else ''}"


def _latency(evaluation: Evaluation) -> float | None:
    return None if evaluation.speed is None else evaluation.speed.latency_p50_ms


def _megabytes(evaluation: Evaluation) -> float | None:
    return evaluation.model.file_bytes / 1e6


def _gate_figure(value: float, name: str) -> str:
    if name.endswith(("_drop", "_rise")):
        return f"{value:.2f}".replace("-", "−")
    return _times(value) if name == "speedup" else _percent(value, 2)


def _percent(share: float | None, digits: int) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"


def _signed(value: float, digits: int = 2) -> str:
    """Return a change with its sign, a true minus; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


def _sentence(text: str) -> str:
    """Return words with a capital at the beginning and a full stop at the end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
