# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the evaluations of a run to its report card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vision_line.errors import ConfigError
from vision_line_compression.data.dataset import Dataset
from vision_line_compression.evaluate.compare import RESAMPLES, difference, resample
from vision_line_compression.evaluate.gates import (
    Gate,
    GateSettings,
    Parents,
    check_accuracy,
    check_comparable,
    check_gates,
    fewest_missed,
    most_accurate,
)
from vision_line_compression.evaluate.predict import Predictions
from vision_line_compression.evaluate.results import Evaluation, PairedDifference, RobustnessComparison
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.quantize.encodings import UNSIGNED
from vision_line_compression.report.card import (
    PARENTS,
    Headline,
    Identity,
    KeptChannels,
    ReportCard,
    ReportRow,
    RowGroup,
    RowKind,
    SensitivityCurve,
)

#: The shape whose speed the headline names.
HEADLINE_SHAPE_HW = (640, 640)


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One model that was run: its evaluation, the predictions that it was made of, and how it came about."""

    evaluation: Evaluation
    predictions: Predictions
    epochs: float | None = None
    note: str = ""
    speedup: float | None = None  # against the parent, in interleaved rounds
    engine_speedup: float | None = None  # the same of the networks alone


def better_parent(runs: Mapping[RowKind, MeasuredRun]) -> RowKind:
    """Return the parent, or the parent trained longer where its mAP50-95 is higher.

    Raises:
        ConfigError: there is no parent among `runs`.
    """
    if RowKind.PARENT not in runs:
        raise ConfigError("report: expected an evaluation of the parent, found none")
    parents = [kind for kind in (RowKind.PARENT, RowKind.LONGER) if kind in runs]
    return max(parents, key=lambda kind: runs[kind].evaluation.accuracy.map50_95 or 0.0)


def build_card(
    identity: Identity,
    runs: Mapping[RowKind, MeasuredRun],
    product: RowKind,
    dataset: Dataset,
    gates: GateSettings,
    *,
    float_product: RowKind | None = None,
    plans: Sequence[PruningPlan] = (),
    robustness: RobustnessComparison | None = None,
    remarks: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> ReportCard:
    """Put the card together; `dataset` is what all of `runs` were evaluated on, `plans` those of all steps in order.

    Every run is compared with the better parent, and INT8 with `float_product`, the model that was quantized, with
    intervals from images drawn anew.

    Raises:
        ConfigError: the parent or the product was not run, or the evaluations cannot be compared.
    """
    reference = better_parent(runs)
    if product not in runs:
        raise ConfigError(f"report: expected an evaluation of the product {product}, found none")
    for run in runs.values():
        check_comparable(run.evaluation, runs[reference].evaluation)
    seed = identity.seed
    drawn = {
        kind: resample(run.predictions, run.evaluation, dataset, resamples=resamples, seed=seed)
        for kind, run in runs.items()
    }
    differences = {
        kind: difference(ours, drawn[reference], seed) for kind, ours in drawn.items() if kind is not reference
    }
    rounded = {
        kind: difference(ours, drawn[float_product], seed)
        for kind, ours in drawn.items()
        if kind.group is RowGroup.INT8 and float_product is not None
    }
    parents = {words: runs[kind].evaluation for kind, words in PARENTS.items() if kind in runs}
    checked = _checked(runs, product, parents, gates)
    return ReportCard(
        identity=identity,
        headline=_headline(runs, product, parents),
        product=product,
        reference=reference,
        passed=all(gate.passed for gate in checked),
        gates=checked,
        rows=tuple(_row(kind, runs.get(kind), differences.get(kind), rounded.get(kind)) for kind in RowKind),
        kept_channels=kept_channels(plans),
        sensitivity=sensitivity_curves(plans[-1]) if plans else (),
        robustness=robustness,
        remarks=tuple(remarks),
    )


def _checked(
    runs: Mapping[RowKind, MeasuredRun], product: RowKind, parents: Parents, gates: GateSettings
) -> tuple[Gate, ...]:
    """Hold the product against the gates, and its unsigned variant against those of accuracy: either may inspect."""
    unsigned = runs.get(RowKind.INT8_UNSIGNED)
    checked = check_gates(runs[product].evaluation, parents, gates, speedup=runs[product].engine_speedup)
    if unsigned is None:
        return checked
    more = check_accuracy(unsigned.evaluation, parents, gates)
    return (*checked, *(gate.model_copy(update={"form": UNSIGNED.name}) for gate in more))


def kept_channels(plans: Sequence[PruningPlan]) -> tuple[KeptChannels, ...]:
    """Return what the plans of all steps leave of each group of the parent.

    A group that a step has made as narrow as it may be is in no later plan.
    """
    found: dict[str, KeptChannels] = {}
    for plan in plans:
        for planned in plan.groups:
            name, channels = planned.group.name, planned.group.channels
            parents = found[name].channels if name in found else channels
            found[name] = KeptChannels(name=name, stage=planned.stage, kept=len(planned.kept), channels=parents)
    return tuple(found.values())


def sensitivity_curves(plan: PruningPlan) -> tuple[SensitivityCurve, ...]:
    """Return the measured curves of `plan`, beginning with all channels; none where nothing was measured."""
    parent_score = plan.parent_score
    if not parent_score:
        return ()
    return tuple(
        SensitivityCurve(
            name=unit,
            kept_share=(1.0, *(share for share, _ in curve)),
            score_share=(1.0, *(score / parent_score for _, score in curve)),
        )
        for unit, curve in plan.sensitivity.items()
    )


def _row(
    kind: RowKind, run: MeasuredRun | None, difference: PairedDifference | None, from_float: PairedDifference | None
) -> ReportRow:
    if run is None:
        return ReportRow(kind=kind, title=kind.heading, note=kind.note)
    return ReportRow(
        kind=kind,
        title=kind.heading,
        note=f"{kind.note}; {run.note}" if run.note else kind.note,
        epochs=run.epochs,
        evaluation=run.evaluation,
        difference=difference,
        from_float=from_float,
        speedup=run.speedup,
        engine_speedup=run.engine_speedup,
    )


def _headline(runs: Mapping[RowKind, MeasuredRun], product: RowKind, parents: Parents) -> Headline:
    ours, parent = (runs[kind].evaluation for kind in (product, RowKind.PARENT))
    speed = ours.speed
    at_640 = speed is not None and speed.input_shape_hw == HEADLINE_SHAPE_HW
    miss_rate = parents[fewest_missed(parents)].operating[0].miss_rate
    return Headline(
        params_ratio=ours.model.params / parent.model.params,
        macs_ratio=ours.model.macs / parent.model.macs,
        onnx_ratio=ours.model.file_bytes / parent.model.file_bytes,
        map50_95_drop=_points(most_accurate(parents, "map50_95")[1], ours.accuracy.map50_95),
        map50_drop=_points(most_accurate(parents, "map50")[1], ours.accuracy.map50),
        miss_rate=ours.operating[0].miss_rate.value,
        parent_miss_rate_interval=(miss_rate.low, miss_rate.high),
        speedup_cpu_640=runs[product].engine_speedup if at_640 else None,
        speedup_cpu_640_application=runs[product].speedup if at_640 else None,
    )


def _points(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else 100 * (before - after)
