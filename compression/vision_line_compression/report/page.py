# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report card as one HTML file: no script, no font, no image and no request from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.resources import files
from pathlib import Path

from vision_line_compression.evaluate.results import Evaluation
from vision_line_compression.report import plots
from vision_line_compression.report.card import REPORT_FILE, ReportCard, ReportRow, write_card
from vision_line_compression.report.tables import NONE, gates_table, models_table, percent, sentence, signed, times

PAGE_FILE = "report.html"

_STAGES = {"p1": "stem", "p2": "P2", "p3": "P3", "p4": "P4", "p5": "P5", "head": "head"}


def write_report(card: ReportCard, folder: Path) -> Path:
    """Write `report.json` and `report.html` into `folder`, which is made; return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    write_card(card, folder / REPORT_FILE)
    page, part = folder / PAGE_FILE, folder / f"{PAGE_FILE}.part"
    part.write_text(render_page(card), encoding="utf-8")
    part.replace(page)
    return page


def render_page(card: ReportCard) -> str:
    """Return the page."""
    css = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    body = "".join(
        (_header(card), _tiles(card), gates_table(card), models_table(card), _plots(card), _identity(card), _footer())
    )
    title = escape(f"{card.identity.name}: compression report")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>\n{css}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def _header(card: ReportCard) -> str:
    verdict = '<span class="verdict passed">✓ all gates passed</span>'
    if not card.passed:
        failed = sum(not gate.passed for gate in card.gates)
        verdict = f'<span class="verdict failed">✗ {failed} of {len(card.gates)} gates failed</span>'
    remarks = "".join(f'<p class="muted">{escape(sentence(remark))}</p>' for remark in card.remarks)
    return (
        f'<header><div class="eyebrow">Compression report card</div><h1>{escape(card.identity.name)}</h1>{verdict}'
        f'</header><p class="lead">{escape(_summary(card))}</p>{remarks}'
    )


def _summary(card: ReportCard) -> str:
    product, reference = card.row(card.product), card.row(card.reference)
    if product.evaluation is None:
        return "The product was not run."
    data = product.evaluation.data
    text = (
        f"{product.title} against {reference.title.lower()}, judged on {data.images:,} {data.split} images "
        f"with {data.boxes:,} defects, through the engine that inspects cameras."
    )
    if product.difference is not None and product.difference.map50_95.is_noise:
        text += " Its difference in mAP50-95 may be chance."
    return text


def _throughput_note(product: ReportRow) -> str:
    if product.engine_speedup is None:
        return "not measured"
    return f"the parent's, network alone; {times(product.speedup)} with conversion and head"


def _tiles(card: ReportCard) -> str:
    headline, product = card.headline, card.row(card.product)
    low, high = headline.parent_miss_rate_interval
    interval = product.difference.map50_95 if product.difference is not None else None
    change = NONE if headline.map50_95_drop is None else signed(-headline.map50_95_drop)
    noise = "" if interval is None else f"points, 95 %: {signed(100 * interval.low)} … {signed(100 * interval.high)}"
    tiles = [
        ("Parameters", percent(headline.params_ratio, 1), "of the parent's"),
        ("Multiply-accumulates", percent(headline.macs_ratio, 1), "of the parent's"),
        ("ONNX file", percent(headline.onnx_ratio, 1), "of the parent's FP32 file"),
        ("mAP50-95", change, noise or "points"),
        ("Defects missed", percent(headline.miss_rate, 2), f"parent: {100 * low:.2f} … {100 * high:.2f} %"),
        ("Throughput", times(product.engine_speedup), _throughput_note(product)),
    ]
    cells = (
        f'<div class="tile"><span class="name">{name}</span><b>{value}</b><span>{note}</span></div>'
        for name, value, note in tiles
    )
    return f'<section class="tiles">{"".join(cells)}</section>'


def _plots(card: ReportCard) -> str:
    reference, product = card.row(card.reference).evaluation, card.row(card.product).evaluation
    text = "Up and left is better. Whiskers: 95 % of the difference. Circles: steps, diamonds: INT8, squares: controls."
    parts = [
        _plot("Accuracy and latency", text, _trade(card, _latency, "latency, ms (median)")),
        _plot("Accuracy and size", text, _trade(card, _megabytes, "ONNX file, MB")),
    ]
    if reference is not None and product is not None:
        parts += _comparisons(reference, product)
    corrupted = plots.corruption(card.robustness) if card.robustness is not None else None
    parts.append(_plot("Corrupted images", _corruption_text(card), corrupted, wide=True, legend=("float", "quantized")))
    curves = plots.sensitivity(card.sensitivity) if card.sensitivity else None
    parts.append(
        _plot("Sensitivity", "Each line is one unit of the network that loses channels alone.", curves, wide=True)
    )
    kept = plots.kept_channels(card.kept_channels) if card.kept_channels else None
    parts.append(_plot("Kept channels", _stage_legend(), kept, wide=True))
    return f'<h2>Plots</h2><section class="plots">{"".join(parts)}</section>'


def _comparisons(reference: Evaluation, product: Evaluation) -> list[str]:
    first, second = reference.operating[0], product.operating[0]
    sweeps = ((reference.sweep[0], first.threshold), (product.sweep[0], second.threshold))
    both = ("better parent", "product")
    at = f"At IoU {second.match_iou:g}"
    return [
        _plot(
            "What a threshold costs",
            f"{at}; down and left is better, dots are the operating thresholds.",
            plots.threshold_sweep(*sweeps),
            legend=both,
        ),
        _plot(
            "Score calibration",
            "On the diagonal a score means what it says.",
            plots.reliability(reference.calibration, product.calibration),
            legend=both,
        ),
        _plot(
            "Misses by size",
            f"{at}, by the longer side in input pixels (number of defects), exact intervals.",
            plots.miss_intervals(first.by_longer_side, second.by_longer_side),
            legend=both,
        ),
        _plot(
            "Misses by class",
            f"{at} (number of defects), exact intervals.",
            plots.miss_intervals(first.by_class, second.by_class),
            legend=both,
        ),
    ]


def _plot(title: str, text: str, svg: str | None, *, wide: bool = False, legend: tuple[str, ...] = ()) -> str:
    content = f'<div class="picture">{svg}</div>' if svg else '<div class="absent-plot">not run</div>'
    names = zip(("parent", "product"), legend, strict=False)
    items = "".join(f'<li><i style="--colour:var(--{style})"></i>{name}</li>' for style, name in names)
    shown = f'<ul class="legend">{items}</ul>' if items and svg is not None else ""
    style = "plot wide" if wide else "plot"
    return f'<figure class="{style}"><h3>{title}</h3><p>{text}</p>{content}{shown}</figure>'


def _trade(card: ReportCard, cost: Callable[[Evaluation], float | None], cost_label: str) -> str | None:
    return plots.trade_off(card, cost, cost_label)


def _latency(evaluation: Evaluation) -> float | None:
    return None if evaluation.speed is None else evaluation.speed.latency_p50_ms


def _megabytes(evaluation: Evaluation) -> float | None:
    return evaluation.model.file_bytes / 1e6


def _corruption_text(card: ReportCard) -> str:
    if card.robustness is None:
        return "False detections per image, float against quantized."
    found = card.robustness.false_per_image
    word = " (noise)" if found.is_noise else ""
    return (
        f"False detections per image at severities 0 to 3 on {card.robustness.candidate.images} images. Quantized "
        f"minus float over all: {signed(found.value, 3)}, 95 %: {signed(found.low, 3)} … "
        f"{signed(found.high, 3)}{word}."
    )


def _stage_legend() -> str:
    items = "".join(f'<li><i style="--colour:var(--{style})"></i>{name}</li>' for style, name in _STAGES.items())
    return f'Filled: stays. Colour: place in the network.</p><ul class="legend">{items}</ul><p>'


def _identity(card: ReportCard) -> str:
    identity = card.identity
    entries = [
        ("made", escape(identity.created_utc)),
        ("family", escape(identity.family)),
        ("parent", f"<code>{escape(identity.parent_sha256)}</code>"),
        ("recipe", f"<code>{escape(identity.recipe_sha256)}</code>"),
        *((f"data, {escape(split)}", f"<code>{escape(found)}</code>") for split, found in identity.data_sha256.items()),
        ("seed", str(identity.seed)),
        ("machine", escape(identity.machine)),
        ("versions", escape(", ".join(f"{name} {version}" for name, version in identity.versions.items()))),
    ]
    product = card.row(card.product).evaluation
    if product is not None:
        settings = product.settings
        rules = (
            f"threshold {product.operating[0].threshold:g}, NMS IoU {settings.nms_iou}, a defect is found at IoU "
            f"{' and '.join(f'{iou:g}' for iou in settings.match_ious)}, at most {settings.max_detections} detections"
        )
        entries[3:3] = [("product", f"<code>{escape(product.model.sha256)}</code>")]
        entries.append(("rules", rules))
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in entries)
    return f"<h2>Identity</h2><dl>{rows}</dl>"


def _footer() -> str:
    return (
        "<footer>mAP as COCO defines it. A miss is a defect that no detection of its class found above the operating "
        "threshold. Accuracy, latency and size belong to the same file. All figures are in report.json.</footer>"
    )
