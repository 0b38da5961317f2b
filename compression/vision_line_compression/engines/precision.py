# SPDX-License-Identifier: AGPL-3.0-or-later
"""INT8 or float16: what a run's report says of both variants of a bundle's model, and where the float file is.

INT8 is the bundle's own file. Float16 is the FP16 variant of the float file that was quantized, and is evaluated by
that file's evaluation. Both were measured in the same run, on the same images, against the same parent; so the run's
report is what decides whether a variant passes the recipe's accuracy gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vision_line.devices.model.bundle import WHOLLY_FLOAT16
from vision_line.devices.model.model import Model
from vision_line.devices.tensorrt.engine_choice import Precision
from vision_line_compression.bundle.float_file import quantized_of
from vision_line_compression.evaluate.gates import GateSettings, check_gates
from vision_line_compression.files import sha256_of
from vision_line_compression.report.card import PARENTS, REPORT_FILE, ReportCard, ReportRow, RowKind

#: Rows that may hold the float model that was quantized, the latest first.
_FLOAT_ROWS = (RowKind.QUANTIZATION_AWARE, RowKind.CHOSEN, RowKind.DISTILLED, RowKind.RECOVERED, RowKind.PARENT)
_ACCURACY_GATES = ("map50_95_drop", "map50_drop", "class_recall_drop", "miss_rate")
_WITHIN_PARENT = "miss_rate_within_parent"


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a variant passed the accuracy gates, None: unknown; and how that is known, in words."""

    passed: bool | None
    by: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a bundle comes from, as far as it can be found: the float file, and what the report says of both."""

    float_onnx: Path | None
    int8: GateResult
    float16: GateResult

    def gate_result(self, precision: Precision) -> GateResult:
        """Return what is known of one variant."""
        return self.int8 if precision == "int8" else self.float16


def find_origin(bundle: Path, model: Model, float_onnx: Path | None, report: Path | None) -> Origin:
    """Return the origin of `bundle`; a run's folder has report and float file beside it.

    `float_onnx` and `report` are used instead of those beside the bundle.

    Raises:
        ConfigError: a file cannot be read.
    """
    beside = bundle.resolve().parent / REPORT_FILE
    if report is None and not beside.is_file():
        unknown = GateResult(None, f"no {REPORT_FILE} beside the bundle")
        return Origin(float_onnx, unknown, unknown)
    card = ReportCard.read(report or beside)
    int8_row, float_row = card.row(card.product), _float_row(card)
    if _sha256_of(int8_row) not in (model.sha256, _float16_of(model)):
        unknown = GateResult(None, f"{report or beside} is about another model")
        return Origin(float_onnx, unknown, unknown)
    known = _sha256_of(float_row)
    found = float_onnx or _file_with(known, bundle.resolve().parent)
    float16 = _gate_result(card, float_row)
    of_bundle = next((one.path for one in model.gpu_variants if one.name == WHOLLY_FLOAT16), None)
    if of_bundle is not None:
        if quantized_of(of_bundle) != known:
            float16 = GateResult(None, f"{of_bundle} was not made of the float model of the report")
    elif found is not None and sha256_of(found) != known:
        float16 = GateResult(None, f"{found} is not the float model of the report")
    return Origin(found, _gate_result(card, int8_row), float16)


def _float_row(card: ReportCard) -> ReportRow | None:
    rows = (card.row(kind) for kind in _FLOAT_ROWS)
    return next((row for row in rows if row.evaluation is not None), None)


def _sha256_of(row: ReportRow | None) -> str | None:
    return None if row is None or row.evaluation is None else row.evaluation.model.sha256


def _float16_of(model: Model) -> object:
    """Return the hash of the model that `model` is the FP16 variant of; what was measured is said of that one."""
    return None if model.bundle is None else model.bundle.lineage.get("half_of_sha256")


def _file_with(sha256: str | None, run: Path) -> Path | None:
    """Return the file that has the hash, of those that the stages of a run left."""
    return next((path for path in sorted(run.glob("*/*.onnx")) if sha256_of(path) == sha256), None)


def _gate_result(card: ReportCard, row: ReportRow | None) -> GateResult:
    parents = {words: found for kind, words in PARENTS.items() if (found := card.row(kind).evaluation) is not None}
    if row is None or row.evaluation is None or not parents:
        return GateResult(None, "the report has no evaluation of it")
    limits = {gate.name: gate.limit for gate in card.gates}
    settings = GateSettings(
        **{name: limits.get(name) for name in _ACCURACY_GATES}, miss_rate_within_parent=_WITHIN_PARENT in limits
    )
    failed = [gate.name for gate in check_gates(row.evaluation, parents, settings) if not gate.passed]
    result = f"did not pass {', '.join(failed)}" if failed else "passed the accuracy gates"
    return GateResult(not failed, f"the report's row {row.title!r} {result}")
