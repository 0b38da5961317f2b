# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the evaluations of a run to its report card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vision_line.errors import ConfigError
from vision_line_compression.data.dataset import Dataset
from vision_line_compression.data.grouping import Groups, group_images
from vision_line_compression.evaluate.compare import RESAMPLES, average_trainings, difference, resample
from vision_line_compression.evaluate.gates import (
    Gate,
    GateSettings,
    Parents,
    check_accuracy,
    check_comparable,
    check_gates,
    check_robustness,
    fewest_missed,
    most_accurate,
)
from vision_line_compression.evaluate.grouped_intervals import with_grouped_intervals
from vision_line_compression.evaluate.matching import Floats
from vision_line_compression.evaluate.predict import Predictions
from vision_line_compression.evaluate.results import (
    Evaluation,
    GroupedImages,
    PairedDifference,
    RobustnessComparison,
)
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.quantize.encodings import UNSIGNED
from vision_line_compression.report.card import (
    PARENTS,
    PARENTS_INT8,
    Headline,
    Identity,
    KeptChannels,
    ReportCard,
    ReportRow,
    RowGroup,
    RowKind,
    SensitivityCurve,
    TrainedAgain,
)

#: The shape whose speed the headline names.
HEADLINE_SHAPE_HW = (640, 640)

#: Fewer groups than this are drawn from with a warning.
FEW_GROUPS = 20

PARENTS_BY_WORDS = {words: kind for kind, words in PARENTS.items()}


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation and the predictions that it was made of."""

    evaluation: Evaluation
    predictions: Predictions


@dataclass(frozen=True, slots=True)
class MeasuredRun(Evaluated):
    """One model that was run, and how it came about."""

    epochs: float | None = None
    note: str = ""
    speedup: float | None = None  # against the parent, in interleaved rounds
    engine_speedup: float | None = None  # the same of the networks alone
    again: Mapping[int, Evaluated] = field(default_factory=dict)  # what other trainings gave, by their seeds


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
    group: str | None = None,
    resamples: int = RESAMPLES,
) -> ReportCard:
    """Put the card together; `dataset` is what all of `runs` were evaluated on, `plans` those of all steps in order.

    Every run is compared with the better parent, INT8 with `float_product`, the model that was quantized, and a control
    with what it is a control of, with intervals from images drawn anew, or from what `group` puts together. Of models
    that were trained several times the differences are those of the means. Gates judge the model that ships, by exact
    intervals.

    Raises:
        ConfigError: the parent or the product was not run, or the evaluations cannot be compared.
    """
    reference = better_parent(runs)
    if product not in runs:
        raise ConfigError(f"report: expected an evaluation of the product {product}, found none")
    for run in runs.values():
        for one in (run, *run.again.values()):
            check_comparable(one.evaluation, runs[reference].evaluation)
    drawing = _Drawing(dataset, None if group is None else group_images(dataset, group), identity.seed, resamples)
    drawn = {kind: drawing.of(run) for kind, run in runs.items()}
    differences = {
        kind: drawing.compared(ours, drawn[reference]) for kind, ours in drawn.items() if kind is not reference
    }
    rounded = {
        kind: drawing.compared_in_pairs(ours, drawn[quantized])
        for kind, ours in drawn.items()
        if (quantized := _quantized(kind, float_product)) is not None
    }
    controls = {kind: own for kind in runs if (own := _varied(kind, runs, product)) is not None}
    varied = {kind: (own, drawing.compared(drawn[kind], drawn[own])) for kind, own in controls.items()}
    parents = {words: runs[kind].evaluation for kind, words in PARENTS.items() if kind in runs}
    checked = (*_checked(runs, product, parents, gates), *check_robustness(robustness, gates))
    shown = {kind: replace(run, evaluation=drawing.shown(run)) for kind, run in runs.items()}
    best = PARENTS_BY_WORDS[fewest_missed(parents)]
    return ReportCard(
        identity=identity,
        headline=_headline(runs, product, parents, shown[best].evaluation),
        product=product,
        reference=reference,
        passed=all(gate.passed for gate in checked),
        gates=checked,
        rows=tuple(
            _row(kind, shown.get(kind), differences.get(kind), rounded.get(kind), varied.get(kind)) for kind in RowKind
        ),
        kept_channels=kept_channels(plans),
        sensitivity=sensitivity_curves(plans[-1]) if plans else (),
        robustness=robustness,
        grouped=drawing.named(group),
        remarks=(*remarks, *drawing.remarks()),
    )


@dataclass(frozen=True, slots=True)
class _Drawing:
    """How images are drawn anew, the same for all models."""

    dataset: Dataset
    groups: Groups | None
    seed: int
    resamples: int

    def of(self, run: MeasuredRun) -> tuple[Floats, ...]:
        """Return the resampled figures of each training of a model, that of the model that ships first."""
        return tuple(
            resample(
                one.predictions,
                one.evaluation,
                self.dataset,
                resamples=self.resamples,
                seed=self.seed,
                groups=self.groups,
            )
            for one in (run, *run.again.values())
        )

    def compared(self, ours: tuple[Floats, ...], theirs: tuple[Floats, ...]) -> PairedDifference:
        """Return the difference of two models whose trainings have nothing to do with each other."""
        first, second = average_trainings(ours, self.seed), average_trainings(theirs, self.seed + 1)
        return difference(first, second, self.seed, self.groups, len(ours))

    def compared_in_pairs(self, ours: tuple[Floats, ...], theirs: tuple[Floats, ...]) -> PairedDifference:
        """Return the difference of two models of which each training of one was made of that of the other.

        The other's may be more: not all that is made of a training is made of every one.
        """
        pairs = [one - other for one, other in zip(ours, theirs, strict=False)]
        changes = average_trainings(pairs, self.seed)
        return difference(changes, np.zeros_like(changes), self.seed, self.groups, len(pairs))

    def shown(self, run: MeasuredRun) -> Evaluation:
        """Return an evaluation with intervals over groups, where images come in groups."""
        if self.groups is None:
            return run.evaluation
        return with_grouped_intervals(
            run.evaluation, run.predictions, self.dataset, self.groups, resamples=self.resamples, seed=self.seed
        )

    def named(self, group: str | None) -> GroupedImages | None:
        """Return what was drawn; None: each image by itself."""
        return None if group is None or self.groups is None else GroupedImages(by=group, groups=self._count)

    def remarks(self) -> Iterator[str]:
        """Yield what is to be known of groups so few."""
        if self.groups is not None and self._count < FEW_GROUPS:
            yield (
                f"All intervals are over {self._count} groups of images, which are few: drawn from so few, intervals "
                "are rather too narrow"
            )

    @property
    def _count(self) -> int:
        return 0 if self.groups is None else int(self.groups.max()) + 1


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


def _quantized(kind: RowKind, float_product: RowKind | None) -> RowKind | None:
    """Return the float model that a model in INT8 was made of."""
    if kind in PARENTS_INT8:
        return RowKind.PARENT
    return float_product if kind.group is RowGroup.INT8 else None


def _varied(kind: RowKind, runs: Mapping[RowKind, MeasuredRun], product: RowKind) -> RowKind | None:
    """Return what of the product a control is held against: the product itself in INT8, its trained model in float.

    That is the one before quantization-aware training, and before a choice, neither of which controls have.
    """
    if kind in PARENTS_INT8:
        return product
    if kind.group is not RowGroup.CONTROL or kind in (RowKind.LONGER, RowKind.TEACHER):
        return None
    return next((own for own in (RowKind.DISTILLED, RowKind.RECOVERED) if own in runs), None)


def _row(
    kind: RowKind,
    run: MeasuredRun | None,
    difference: PairedDifference | None,
    from_float: PairedDifference | None,
    varied: tuple[RowKind, PairedDifference] | None,
) -> ReportRow:
    if run is None:
        return ReportRow(kind=kind, title=kind.heading, note=kind.note)
    return ReportRow(
        kind=kind,
        title=kind.heading,
        note=f"{kind.note}; {run.note}" if run.note else kind.note,
        epochs=run.epochs,
        evaluation=run.evaluation,
        again=tuple(_trained_again(seed, one.evaluation) for seed, one in run.again.items()),
        difference=difference,
        from_float=from_float,
        control_of=None if varied is None else varied[0],
        from_product=None if varied is None else varied[1],
        speedup=run.speedup,
        engine_speedup=run.engine_speedup,
    )


def _trained_again(seed: int, evaluation: Evaluation) -> TrainedAgain:
    point = evaluation.operating[0]
    return TrainedAgain(
        seed=seed,
        map50_95=evaluation.accuracy.map50_95,
        map50=evaluation.accuracy.map50,
        miss_rate=point.miss_rate.value,
        false_per_image=point.false_per_image.value,
    )


def _headline(
    runs: Mapping[RowKind, MeasuredRun], product: RowKind, parents: Parents, misses_fewest: Evaluation
) -> Headline:
    ours, parent = (runs[kind].evaluation for kind in (product, RowKind.PARENT))
    speed = ours.speed
    at_640 = speed is not None and speed.input_shape_hw == HEADLINE_SHAPE_HW
    miss_rate = misses_fewest.operating[0].miss_rate
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
