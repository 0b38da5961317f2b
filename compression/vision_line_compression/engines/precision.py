# SPDX-License-Identifier: AGPL-3.0-or-later
"""INT8 or float16: both variants of a bundle's model are built and timed, and the report says what each misses.

INT8 is the bundle's own file. Float16 is the FP16 variant of the float file that was quantized, and is evaluated by
that file's evaluation. Both were measured in the same run, on the same images, against the same parent; so the run's
report is what decides whether a variant passes the recipe's accuracy gates. What is not known is never guessed: the
bundle stays INT8 then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from vision_line.devices.cuda.context import GpuContext
from vision_line.devices.model.model import Model
from vision_line.devices.tensorrt.engine_choice import CHOICE_VERSION, EngineChoice, Precision, PrecisionVariant
from vision_line.devices.tensorrt.engine_manifest import BATCH_RANGES, Target
from vision_line.devices.tensorrt.targets import EngineCandidate, choose_precision
from vision_line.ports import ShapeHW
from vision_line_compression.evaluate.gates import GateSettings, check_gates
from vision_line_compression.files import sha256_of
from vision_line_compression.report.card import PARENTS, REPORT_FILE, ReportCard, ReportRow, RowKind

#: The batch whose time decides: many cameras at once, when time is short. With few the GPU waits for images.
DECISIVE_BATCH = BATCH_RANGES[-1][1]

#: Both variants are timed so often, in turns, and the shorter times count: a GPU that warms up or is used is only
#: slower.
ROUNDS = 2

#: Rows that may hold the float model that was quantized, the latest first.
_FLOAT_ROWS = (RowKind.QUANTIZATION_AWARE, RowKind.CHOSEN, RowKind.DISTILLED, RowKind.RECOVERED)
_ACCURACY_GATES = ("map50_95_drop", "map50_drop", "class_recall_drop", "miss_rate")
_WITHIN_PARENT = "miss_rate_within_parent"

#: What times an engine for an input shape, by batch, with the library's module: `time_engine`.
Measure = Callable[[GpuContext, ModuleType, Path, ShapeHW], Mapping[int, float]]


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
    if found is not None and sha256_of(found) != known:
        float16 = GateResult(None, f"{found} is not the float model of the report")
    return Origin(found, _gate_result(card, int8_row), float16)


def choose(
    wanted: Precision | None,
    model: Model,
    target: Target,
    version: str,
    shape_hw: ShapeHW,
    variants: tuple[PrecisionVariant, ...],
) -> EngineChoice:
    """Return the choice among `variants`, the bundle's own first; `wanted` is kept without a question. Pure."""
    kept, reason = _kept(wanted, variants)
    return EngineChoice(
        choice_version=CHOICE_VERSION,
        library=target.library,
        library_version=version,
        sm=target.sm,
        gpu=target.gpu,
        shape_hw=shape_hw,
        bundle_sha256=model.sha256,
        batch=DECISIVE_BATCH,
        forms=variants,
        kept=kept,
        reason=reason,
    )


def _kept(wanted: Precision | None, variants: tuple[PrecisionVariant, ...]) -> tuple[Precision, str]:
    if wanted is not None:
        return wanted, "asked for"
    if len(variants) == 1:
        return "int8", "the float model that was quantized was not found, so there is no float16 variant"
    int8, float16 = variants
    if unknown := [variant for variant in variants if variant.passed is None]:
        reasons = "; ".join(f"{variant.precision}: {variant.judged_by}" for variant in unknown)
        return "int8", f"whether both passed the accuracy gates is not known ({reasons})"
    choice = choose_precision(_candidate(int8), _candidate(float16))
    if choice.candidate is None:
        return "int8", f"{choice.reason}, so it is the bundle's own"
    return ("fp16" if choice.candidate.precision == "fp16" else "int8"), choice.reason


def _candidate(variant: PrecisionVariant) -> EngineCandidate:
    return EngineCandidate(
        variant.precision, passed=variant.passed is True, latency_ms=variant.latency_ms.get(DECISIVE_BATCH)
    )


def time_in_turns(
    measure: Measure, gpu: GpuContext, trt: ModuleType, engines: Mapping[Precision, Path], shape_hw: ShapeHW
) -> dict[Precision, dict[int, float]]:
    """Return the milliseconds of each engine by batch, the least of the rounds.

    Raises:
        DeviceError: an engine cannot be run.
    """
    times: dict[Precision, dict[int, float]] = {precision: {} for precision in engines}
    for _ in range(ROUNDS):
        for precision, engine in engines.items():
            best = times[precision]
            for batch, milliseconds in measure(gpu, trt, engine, shape_hw).items():
                best[batch] = min(round(milliseconds, 4), best.get(batch, milliseconds))
    return times


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
