# SPDX-License-Identifier: AGPL-3.0-or-later
"""The published schema of an evaluation: what `eval --json` prints and the report card reads.

Within one `evaluation_version` keys are only added. Shares lie between 0 and 1.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from vision_line.devices.model.tasks import ModelTask
from vision_line.ports import ShapeHW
from vision_line_compression.files import Document, FrozenModel

Figure = Annotated[float, AfterValidator(lambda value: round(value, 6))]


class EvaluationSettings(FrozenModel):
    """How an evaluation is made; two evaluations can be compared only if theirs agree."""

    device: Literal["auto", "cpu"] = "auto"
    """The application's device that infers: the CPU, which alone reads images that no camera's decoder made."""
    score_floor: float = Field(default=0.001, gt=0.0, lt=1.0)
    """Detections from this score on are ranked for the average precision."""
    nms_iou: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Boxes of one class that overlap more are one; null: the model's own, as an inspection does."""
    score_threshold: float | None = Field(default=None, gt=0.0, lt=1.0)
    """The operating threshold; null: the model's own."""
    max_detections: int = Field(default=300, ge=1, le=300)
    """Detections of an image and class that count, best first: 300 as in an inspection, 100 as in COCO's tables."""
    match_ious: tuple[Annotated[float, Field(ge=0.05, le=0.95)], ...] = Field(default=(0.5, 0.33), min_length=1)
    """A true box is found by a detection of its class that overlaps it by this IoU; misses are counted at each."""
    images: int | None = Field(default=None, ge=1)
    """At most this many images, evenly spread over the split; null: all."""
    speed_s: float = Field(default=0.0, ge=0.0, le=600.0)
    """Time to measure latency for and again throughput, seconds; 0: neither is measured."""


class Rate(FrozenModel):
    """A share or a count per image with its exact 95 % interval."""

    value: Figure | None
    """The estimate; null where nothing could be counted."""
    low: Figure
    """Lower limit."""
    high: Figure
    """Upper limit."""


class EvaluatedModel(FrozenModel):
    """Which model was evaluated."""

    name: str
    """The bundle's name, or the file's."""
    sha256: str
    """Hash of the ONNX file; two models with the same hash give the same detections."""
    task: ModelTask = ModelTask.DETECT
    """`detect`, boxes; `obb`, rotated boxes, whose overlaps are ProbIoU; or `segment`, boxes and masks."""
    precision: str
    """`fp32`, `fp16` or `int8`."""
    file_bytes: int
    """Size of the ONNX file."""
    params: int
    """Weights and biases of its convolutions and products, batch normalisation folded in."""
    macs: int
    """Multiply-accumulates of one image at the first of `input_shapes_hw`."""
    input_shapes_hw: tuple[ShapeHW, ...]
    """Input shapes [height, width]; each image takes the one that suits it best."""


class EvaluatedData(FrozenModel):
    """Which images it was evaluated on."""

    split: str
    """`train`, `val` or `test`."""
    sha256: str
    """Hash of classes, images and labels."""
    images: int
    """Images."""
    clean_images: int
    """Images without any object."""
    boxes: int
    """True boxes."""
    classes: tuple[str, ...]
    """Class names."""


class ClassAccuracy(FrozenModel):
    """The average precision of one class."""

    boxes: int
    """True boxes."""
    ap50_95: Figure | None
    """Mean over IoU 0.50:0.05:0.95; null without true boxes."""
    ap50: Figure | None
    """At IoU 0.5."""


class MaskAccuracy(FrozenModel):
    """Average precision as COCO defines it, where overlaps are those of masks, in pixels of the image."""

    map50_95: Figure | None
    """Mean over IoU 0.50:0.05:0.95."""
    map50: Figure | None
    """At IoU 0.5."""
    map75: Figure | None
    """At IoU 0.75."""
    by_class: dict[str, ClassAccuracy]
    """Each class."""


class Accuracy(FrozenModel):
    """Average precision as COCO defines it (101 recalls; mean over the classes that have true boxes)."""

    map50_95: Figure | None
    """Mean over IoU 0.50:0.05:0.95."""
    map50: Figure | None
    """At IoU 0.5."""
    map75: Figure | None
    """At IoU 0.75."""
    by_size: dict[str, Figure | None]
    """mAP50-95 of COCO's areas `small` (to 32²), `medium`, `large` (from 96²), the image's longer side being 640."""
    by_class: dict[str, ClassAccuracy]
    """Each class."""
    masks: MaskAccuracy | None = None
    """The same of a segmentation model's masks; null for models without. All else is by boxes, of all models."""

    @property
    def deciding(self) -> Figure | None:
        """The mAP50-95 by which models are chosen: that of boxes, with masks the mean of both, as Ultralytics does."""
        if self.masks is None or self.map50_95 is None or self.masks.map50_95 is None:
            return self.map50_95
        return (self.map50_95 + self.masks.map50_95) / 2


class MissedGroup(FrozenModel):
    """How many of a group of true boxes were missed."""

    boxes: int
    """True boxes."""
    missed: int
    """Those that no detection of their class found."""
    miss_rate: Rate
    """Share missed, exact binomial (Clopper-Pearson) interval."""


class OperatingPoint(FrozenModel):
    """Misses and false detections at the operating threshold, at one matching IoU."""

    match_iou: float
    """Least overlap of a detection and the true box that it finds."""
    threshold: float
    """Detections above this score count."""
    boxes: int
    """True boxes."""
    missed: int
    """True boxes that no detection of their class found."""
    unseen: int
    """True boxes that no detection of any class found; the rest of `missed` was found under another name."""
    groups: int | None = None
    """Groups of images that were drawn anew for wider intervals than the exact ones; null: the intervals are exact."""
    miss_rate: Rate
    """Share missed, exact binomial (Clopper-Pearson) interval."""
    false_detections: int
    """Detections that found no true box of their class."""
    false_per_image: Rate
    """False detections per image, exact Poisson (Garwood) interval."""
    images_with_false: Rate
    """Share of the images that have a false detection, exact binomial interval."""
    clean_images_alarmed: Rate
    """Share of the images without any object that have a detection, exact binomial interval."""
    precision: Figure | None
    """Share of the detections that found a true box."""
    by_class: dict[str, MissedGroup]
    """Misses of each class."""
    by_longer_side: dict[str, MissedGroup]
    """Misses by the longer side of the true box, in pixels of the network's input: `8-16` from 8 to under 16."""


class Sweep(FrozenModel):
    """What each threshold costs: columns of one length."""

    match_iou: float
    """Least overlap of a detection and the true box that it finds."""
    threshold: tuple[Figure, ...]
    """Score thresholds, rising."""
    missed: tuple[int, ...]
    """True boxes missed at each."""
    false_detections: tuple[int, ...]
    """False detections at each."""
    miss_rate: tuple[Figure, ...]
    """Share of the true boxes missed; 0 where there are none."""
    false_per_image: tuple[Figure, ...]
    """False detections per image."""
    best_f1_threshold: Figure | None
    """The threshold of the highest F1; null where nothing is ever found."""


class CalibrationBin(FrozenModel):
    """Detections of nearly one score."""

    low: Figure
    """From this score on."""
    high: Figure
    """Below this score."""
    detections: int
    """Their number."""
    mean_score: Figure | None
    """What the model claims."""
    precision: Figure | None
    """What is true: the share that found a true box at IoU 0.5."""


class ScoreCalibration(FrozenModel):
    """Whether a score means what it says."""

    floor: float
    """Detections from this score on are looked at; below, all models are nearly always wrong, which says little."""
    expected_error: Figure | None
    """Expected calibration error: mean of |mean score - precision| over the bins, weighted by their detections."""
    bins: tuple[CalibrationBin, ...]
    """Equal steps of the score."""


class MeasuredExecution(FrozenModel):
    """What computed a model: the figures of an INT8 model hold for this processor and variant alone."""

    instruction_set: str
    """The processor's strongest for INT8, such as `AVX2`."""
    form: str
    """Variant of the model that ran, in words."""
    precision: str
    """What most of it was computed in: `fp32` where an INT8 model was executed in float."""


class Speed(FrozenModel):
    """Time on this machine's device: conversion, network, head decoding; reading the image file is left out."""

    device: str
    """Processor or GPU and library versions."""
    execution: MeasuredExecution | None = None
    """What computed it; null: not recorded."""
    input_shape_hw: ShapeHW
    """Input shape."""
    latency_p50_ms: Figure
    """Median from submission to result, one image at a time."""
    latency_p99_ms: Figure
    """99th percentile of the same."""
    images_per_s: Figure
    """Throughput with all slots busy: the median round."""
    rounds: tuple[Figure, ...]
    """Images per second of each round; models that are compared take turns."""
    engine_images_per_s: Figure
    """Throughput of the network alone, without conversion and head decoding: the median round."""
    engine_rounds: tuple[Figure, ...]
    """The same of each round."""
    memory_mb: Figure
    """Resident memory that opening and running the model added, MiB."""


class Evaluation(Document):
    """All that is known about one model on one data set."""

    evaluation_version: Literal[1] = 1
    """Rises when a key changes its meaning or goes."""
    model: EvaluatedModel
    """Which model."""
    data: EvaluatedData
    """Which images."""
    settings: EvaluationSettings
    """How it was evaluated, with the model's own thresholds filled in."""
    accuracy: Accuracy
    """Average precision."""
    operating: tuple[OperatingPoint, ...]
    """Misses and false detections at the operating threshold, one entry for each matching IoU."""
    sweep: tuple[Sweep, ...]
    """The same at other thresholds."""
    calibration: ScoreCalibration
    """Whether scores mean what they say."""
    speed: Speed | None = None
    """Null when it was not measured."""
    execution: MeasuredExecution | None = None
    """What computed the detections; null: not recorded."""


class Interval(FrozenModel):
    """A difference with its bootstrap interval over images."""

    value: Figure
    """The difference that was measured."""
    low: Figure
    """Lower limit of the 95 % interval."""
    high: Figure
    """Upper limit."""

    @property
    def is_noise(self) -> bool:
        """Say whether the interval holds 0, so that the difference may be chance."""
        return self.low <= 0.0 <= self.high


class PairedDifference(FrozenModel):
    """One model minus another on the same images; intervals from the same resampled images for both."""

    resamples: int
    """How often the images were drawn anew, with replacement."""
    seed: int
    """Start of the random numbers."""
    groups: int | None = None
    """Groups of images that were drawn instead; null: each image by itself."""
    trainings: int = 1
    """Trainings of the model whose spread is in the intervals; 1: the luck of one training is in none."""
    map50_95: Interval
    """Difference in mAP50-95."""
    map50: Interval
    """Difference in mAP50."""
    miss_rate: Interval
    """Difference in the miss rate at the operating threshold and the first matching IoU."""
    false_per_image: Interval
    """Difference in false detections per image, likewise."""
    masks: Interval | None = None
    """Difference in mAP50-95 of masks; null for models without."""


class CorruptedPoint(FrozenModel):
    """One corruption of all images at one severity."""

    corruption: str
    """`rain`, `fog`, `blur`, `noise`, `dark` or `bright`; `none` for the images as they are."""
    severity: int
    """1 to 3; 0 for the images as they are."""
    missed: int
    """True boxes missed at the operating threshold and the first matching IoU."""
    miss_rate: Rate
    """Share missed."""
    false_detections: int
    """False detections."""
    false_per_image: Rate
    """False detections per image."""


class Robustness(FrozenModel):
    """How a model fares on corrupted images."""

    model: str
    """Its name."""
    precision: str
    """`fp32`, `fp16` or `int8`."""
    images: int
    """Images, each corrupted in every way."""
    seed: int
    """Start of the random numbers: the same images are corrupted in the same way for every model."""
    points: tuple[CorruptedPoint, ...]
    """Each corruption and severity."""


class GroupedImages(FrozenModel):
    """What belongs together among the images that were evaluated."""

    by: str
    """`data.group`: `folder`, or a regular expression for file names."""
    groups: int
    """Groups."""


class RobustnessComparison(Document):
    """A quantized model against its float original on the same corrupted images."""

    reference: Robustness
    """The float model."""
    candidate: Robustness
    """The quantized model."""
    false_per_image: Interval
    """Candidate minus reference, over all corruptions and severities."""
    miss_rate: Interval
    """Candidate minus reference, likewise."""
