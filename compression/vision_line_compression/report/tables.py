# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tables of a report card, gates and models, and how a figure is written."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby

from vision_line_compression.evaluate.gates import Gate
from vision_line_compression.evaluate.results import Evaluation, Interval, Rate
from vision_line_compression.report.card import ReportCard, ReportRow, RowGroup

#: What a figure that is not known is shown as.
NONE = "–"

_GROUP_TITLES = {
    RowGroup.STEP: "Steps",
    RowGroup.INT8: "INT8, by calibration method",
    RowGroup.CONTROL: "Controls: what the steps have to beat",
}
_GATE_TITLES = {
    "map50_95_drop": "mAP50-95 drop",
    "map50_drop": "mAP50 drop",
    "class_recall_drop": "Recall drop of a class",
    "miss_rate": "Miss rate",
    "miss_rate_within_parent": "Miss rate within the parent's interval",
    "params_ratio": "Parameters",
    "macs_ratio": "Multiply-accumulates",
    "onnx_ratio": "ONNX file",
    "speedup": "Throughput",
}


def gates_table(card: ReportCard) -> str:
    """Return the gates: what was allowed, what was found."""
    rows = "".join(_gate_row(gate) for gate in card.gates) or '<tr><td colspan="5">No gate was set.</td></tr>'
    return (
        "<h2>Gates</h2><p class='muted'>Limits of the recipe, against the better parent "
        f"({escape(card.row(card.reference).title.lower())}).</p>"
        '<div class="scroll"><table><thead><tr><th>gate</th><th class="text">result</th><th>found</th><th>limit</th>'
        f'<th class="text">measured on</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _gate_row(gate: Gate) -> str:
    verdict = '<span class="good">✓ pass</span>' if gate.passed else '<span class="bad">✗ fail</span>'
    bound = "≥" if gate.name == "speedup" else "≤"
    found = "not measured" if gate.found is None else _gate_figure(gate.name, gate.found)
    variant = f"<small>{escape(gate.form)}</small>" if gate.form else ""
    return (
        f"<tr><td>{_GATE_TITLES.get(gate.name, gate.name)}{variant}</td><td class='text gate'>{verdict}</td>"
        f"<td>{found}</td><td>{bound} {_gate_figure(gate.name, gate.limit)}</td>"
        f'<td class="text muted detail">{escape(gate.detail)}</td></tr>'
    )


def _gate_figure(name: str, value: float) -> str:
    if name.endswith("_drop"):
        return f"{value:.2f}".replace("-", "−")
    return f"{value:.2f}×" if name == "speedup" else f"{100 * value:.2f} %"


_COLUMNS = (
    "<th>model</th><th>params<br>M</th><th>MACs<br>G</th><th>ONNX<br>MB</th><th>mAP50-95</th><th>mAP50</th>"
    "<th>missed<br>%</th><th>false per<br>image</th><th>calibration<br>error</th><th>latency<br>ms</th>"
    "<th>images<br>per s</th><th>epochs</th>"
)


def models_table(card: ReportCard) -> str:
    """Return a row for each model, in groups, those that were not run among them."""
    parts = []
    for group, rows in groupby(card.rows, key=lambda row: row.group):
        parts.append(f'<tr class="group"><th colspan="12">{_GROUP_TITLES[group]}</th></tr>')
        parts += [_row(card, row) for row in rows]
    return (
        "<h2>Models</h2><p class='muted'>Small figures: under mAP the change against the better parent in points, with "
        "its 95 % interval over images drawn anew; under counts the exact 95 % interval. "
        '<span class="noise">A change whose interval holds 0 is marked as</span>.</p>'
        f'<div class="scroll"><table><thead><tr>{_COLUMNS}</tr></thead><tbody>{"".join(parts)}</tbody></table></div>'
    )


def _row(card: ReportCard, row: ReportRow) -> str:
    name = f"<b>{escape(row.title)}</b>{_badges(card, row)}<small>{escape(row.note)}</small>"
    if row.evaluation is None:
        return f'<tr class="absent"><td>{name}</td><td colspan="11" class="text">not run</td></tr>'
    cells = "".join(f"<td>{cell}</td>" for cell in _cells(row, row.evaluation))
    style = ' class="product"' if row.kind is card.product else ""
    return f"<tr{style}><td>{name}</td>{cells}</tr>"


def _badges(card: ReportCard, row: ReportRow) -> str:
    badges = '<span class="badge product">product</span>' if row.kind is card.product else ""
    return badges + ('<span class="badge parent">better parent</span>' if row.kind is card.reference else "")


def _cells(row: ReportRow, evaluation: Evaluation) -> Iterator[str]:
    model, accuracy, point = evaluation.model, evaluation.accuracy, evaluation.operating[0]
    difference, speed = row.difference, evaluation.speed
    yield f"{model.params / 1e6:.2f}"
    yield f"{model.macs / 1e9:.2f}"
    yield f"{model.file_bytes / 1e6:.2f}"
    yield _with_change(accuracy.map50_95, None if difference is None else difference.map50_95)
    yield _with_change(accuracy.map50, None if difference is None else difference.map50)
    yield _with_interval(point.miss_rate, 100, 2)
    yield _with_interval(point.false_per_image, 1, 2)
    error = evaluation.calibration.expected_error
    yield NONE if error is None else f"{error:.3f}"
    yield NONE if speed is None else f"{speed.latency_p50_ms:.1f}<small>p99 {speed.latency_p99_ms:.1f}</small>"
    faster = "" if row.speedup is None else f"<small>{times(row.speedup)}</small>"
    yield NONE if speed is None else f"{speed.images_per_s:.1f}{faster}"
    yield NONE if row.epochs is None else f"{row.epochs:g}"


def _with_change(value: float | None, change: Interval | None) -> str:
    if value is None:
        return NONE
    if change is None:
        return f"{value:.4f}"
    style = ' class="noise"' if change.is_noise else ""
    span = f"{signed(100 * change.low)} … {signed(100 * change.high)}"
    return f"{value:.4f}<small><span{style}>{signed(100 * change.value)}</span></small><small>{span}</small>"


def _with_interval(rate: Rate, factor: float, digits: int) -> str:
    if rate.value is None:
        return NONE
    value, low, high = (f"{factor * one:.{digits}f}" for one in (rate.value, rate.low, rate.high))
    return f"{value}<small>{low} … {high}</small>"


def percent(share: float | None, digits: int) -> str:
    """Return a share in percent."""
    return NONE if share is None else f"{100 * share:.{digits}f} %"


def signed(value: float, digits: int = 2) -> str:
    """Return a change with its sign, a true minus; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


def sentence(text: str) -> str:
    """Return words with a capital at the beginning and a full stop at the end."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def times(value: float | None) -> str:
    """Return a multiple."""
    return NONE if value is None else f"{value:.2f}×"
