# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report card as data: rows, gates, plots' figures and the headline; `report.json` is exactly this."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field

from vision_line_compression.evaluate.gates import Gate
from vision_line_compression.evaluate.results import (
    Evaluation,
    Figure,
    GroupedImages,
    PairedDifference,
    RobustnessComparison,
)
from vision_line_compression.files import Document, FrozenModel

REPORT_FILE = "report.json"


class RowGroup(StrEnum):
    """How rows belong together."""

    STEP = "step"
    INT8 = "int8"
    CONTROL = "control"


class RowKind(StrEnum):
    """What a row shows: its value, a stable key of `report.json`; its group; its title; and what it shows, in words."""

    group: RowGroup
    heading: str
    note: str

    def __new__(cls, value: str, group: RowGroup = RowGroup.STEP, heading: str = "", note: str = "") -> Self:
        """Make a kind that knows how it is shown; one that is there is found by its value alone."""
        kind = str.__new__(cls, value)
        kind._value_ = value
        kind.group, kind.heading, kind.note = group, heading, note
        return kind

    PARENT = "parent", RowGroup.STEP, "Parent", "the model that is compressed"
    PRUNED = "pruned", RowGroup.STEP, "Pruned, raw", "channels removed, nothing trained"
    RECALIBRATED = "recalibrated", RowGroup.STEP, "Recalibrated", "batch normalisation measured anew"
    RECOVERED = "recovered", RowGroup.STEP, "Recovered", "trained on with labels"
    DISTILLED = "distilled", RowGroup.STEP, "Distilled", "trained on with a teacher"
    CHOSEN = "chosen", RowGroup.STEP, "Distilled or not", "with the teacher or without, whichever is better on val"
    QUANTIZATION_AWARE = (
        "quantization-aware",
        RowGroup.STEP,
        "Quantization-aware",
        "trained while rounded to INT8, measured as float",
    )
    INT8_MAX = "int8-max", RowGroup.INT8, "INT8, max", "calibrated to the largest value"
    INT8_PERCENTILE = "int8-percentile", RowGroup.INT8, "INT8, percentile", "calibrated without outliers"
    INT8_MSE = "int8-mse", RowGroup.INT8, "INT8, MSE", "calibrated to the least squared error"
    INT8_ENTROPY = "int8-entropy", RowGroup.INT8, "INT8, entropy", "calibrated to the least divergence"
    INT8_AUTO = "int8-auto", RowGroup.INT8, "INT8, chosen", "calibrated by the method that is best on validation images"
    INT8_UNSIGNED = (
        "int8-unsigned",
        RowGroup.INT8,
        "INT8, unsigned",
        "the product's variant for processors without VNNI",
    )
    LONGER = "longer", RowGroup.CONTROL, "Parent, longer", "the parent trained for the same extra epochs"
    NO_TEACHER = "no-teacher", RowGroup.CONTROL, "No teacher", "the same plan and epochs, labels only"
    UNIFORM = "uniform", RowGroup.CONTROL, "Uniform plan", "one relative width for all layers"
    ONE_SHOT = "one-shot", RowGroup.CONTROL, "One shot", "without intermediate steps"
    NARROW = "narrow", RowGroup.CONTROL, "Narrow network", "scaled down, trained from scratch as long"
    NARROW_PRETRAINED = (
        "narrow-pretrained",
        RowGroup.CONTROL,
        "Narrow, pretrained",
        "as many operations, from the family's pretrained weights, as long, the same teacher",
    )
    PARENT_INT8 = "parent-int8", RowGroup.CONTROL, "Parent, INT8", "quantized as the product is, nothing else"
    PARENT_INT8_NNCF = (
        "parent-int8-nncf",
        RowGroup.CONTROL,
        "Parent, INT8 by NNCF",
        "with the settings of `yolo export format=openvino int8=True`, nothing else",
    )
    TEMPERATURE = "temperature", RowGroup.CONTROL, "Other temperature", "of the distillation"
    ATTENTION = "attention", RowGroup.CONTROL, "Attention transfer", "otherwise than the product"
    STAGED_RATE = "staged-rate", RowGroup.CONTROL, "Staged rate", "otherwise than the product"
    NECK_WHOLE = "neck-whole", RowGroup.CONTROL, "Neck whole", "no channel of the neck goes"
    NECK_FREE = "neck-free", RowGroup.CONTROL, "Neck free", "any channel of the neck may go"
    FIFTH = "fifth", RowGroup.CONTROL, "A fifth of the schedule", "trained for a fifth of the parent's epochs"
    TEACHER = "teacher", RowGroup.CONTROL, "Teacher", "a larger model, trained on this data first"


#: What the product is held against, in words.
PARENTS = {RowKind.PARENT: "parent", RowKind.LONGER: "parent trained longer"}

#: The parent in INT8 without any training.
PARENTS_INT8 = (RowKind.PARENT_INT8, RowKind.PARENT_INT8_NNCF)


class ReportRow(FrozenModel):
    """One model of the report."""

    kind: RowKind
    """Which model."""
    title: str
    """Its name for people."""
    note: str
    """What it shows, and what was special about this run."""
    epochs: float | None = None
    """Epochs of training since the parent; null where it is unknown."""
    evaluation: Evaluation | None = None
    """What was measured; null: not run."""
    difference: PairedDifference | None = None
    """This model minus the better parent; null for that parent itself and for what was not run."""
    again: tuple[TrainedAgain, ...] = ()
    """What `report.seeds` gave; differences are then those of the means over all trainings."""
    from_float: PairedDifference | None = None
    """An INT8 model minus the float model that was quantized; null for others and in older reports."""
    control_of: RowKind | None = None
    """What a control varies or has to be held against: a model of the product, in the same precision; else null."""
    from_product: PairedDifference | None = None
    """A control minus `control_of`: what the one thing that it does otherwise changes; null likewise."""
    speedup: Figure | None = None
    """Throughput as a multiple of the parent's in interleaved rounds; null where it was not measured."""
    engine_speedup: Figure | None = None
    """The same of the networks alone, without conversion and head decoding."""


class TrainedAgain(FrozenModel):
    """What another training of the same model gave, which began with another seed."""

    seed: int
    """Start of its random numbers."""
    map50_95: Figure | None
    """mAP50-95."""
    map50: Figure | None
    """mAP50."""
    miss_rate: Figure | None
    """Share of the true boxes missed at the operating threshold and the first matching IoU."""
    false_per_image: Figure | None
    """False detections per image, likewise."""


class KeptChannels(FrozenModel):
    """What pruning left of one group of coupled layers."""

    name: str
    """The group's first layer."""
    stage: str
    """Where in the network it is."""
    kept: int
    """Channels that stay."""
    channels: int
    """Channels of the parent."""


class SensitivityCurve(FrozenModel):
    """What happens when one unit alone loses channels."""

    name: str
    """The unit."""
    kept_share: tuple[Figure, ...]
    """Shares of the channels kept, of those before the last step of pruning."""
    score_share: tuple[Figure, ...]
    """Score at each, as a share of that with all of them."""


class Identity(FrozenModel):
    """What the report is about, and what would have to be the same to get it again."""

    name: str
    """Name of the bundle."""
    family: str
    """The parent's family."""
    created_utc: str
    """When the report was made, ISO 8601."""
    parent_sha256: str
    """Hash of the parent's checkpoint."""
    recipe_sha256: str
    """Hash of the recipe."""
    data_sha256: dict[str, str]
    """Hash of each split."""
    seed: int
    """Start of the random numbers."""
    versions: dict[str, str]
    """Versions of the libraries that made the report; remarks name what was done with others."""
    machine: str
    """Where the report was made; remarks name what was done elsewhere."""


class Headline(FrozenModel):
    """The product in nine figures; drops are against the parent that has more of it, ratios against the parent."""

    params_ratio: Figure
    """Parameters."""
    macs_ratio: Figure
    """Multiply-accumulates."""
    onnx_ratio: Figure
    """Bytes of the ONNX file, against the parent's FP32 ONNX file."""
    map50_95_drop: Figure | None
    """Drop of mAP50-95, points."""
    map50_drop: Figure | None
    """Drop of mAP50, points."""
    miss_rate: Figure | None
    """Share of the defects missed at the operating threshold and the first matching IoU."""
    parent_miss_rate_interval: tuple[Figure, Figure]
    """Of the parent that misses fewer, 95 % interval: exact, or over groups of images."""
    speedup_cpu_640: Figure | None
    """Throughput of the network alone at 640x640 on this CPU, as a multiple of the parent's; null: not measured."""
    speedup_cpu_640_application: Figure | None
    """The same with the application's conversion of images and head decoding."""


class ReportCard(Document):
    """`report.json`."""

    report_version: Literal[1] = 1
    """Rises when a key changes its meaning or goes."""
    identity: Identity
    """What it is about."""
    headline: Headline
    """The product in nine figures."""
    product: RowKind
    """The row that the bundle holds."""
    reference: RowKind
    """The better parent: the parent, or the parent trained longer where that is better."""
    passed: bool
    """Whether all gates passed."""
    gates: tuple[Gate, ...]
    """The recipe's gates."""
    rows: tuple[ReportRow, ...] = Field(min_length=1, max_length=len(RowKind))
    """All models, those that were not run among them."""
    kept_channels: tuple[KeptChannels, ...] = ()
    """What the plan kept."""
    sensitivity: tuple[SensitivityCurve, ...] = ()
    """What the plan was made of."""
    robustness: RobustnessComparison | None = None
    """The quantized product against its float original on corrupted images; null where it was not run."""
    grouped: GroupedImages | None = None
    """What all intervals are over; null: each image and box counts by itself."""
    remarks: tuple[str, ...] = ()
    """What a reader has to know about this run."""

    def row(self, kind: RowKind) -> ReportRow:
        """Return the row of one kind; one that was not run where the report is older than the kind."""
        return next((row for row in self.rows if row.kind is kind), ReportRow(kind=kind, title=kind.heading, note=""))
