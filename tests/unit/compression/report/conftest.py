# SPDX-License-Identifier: AGPL-3.0-or-later
"""Evaluations and report cards made of invented figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vision_line_compression.evaluate.gates import GateSettings, check_gates
from vision_line_compression.evaluate.misses import SWEEP_THRESHOLDS
from vision_line_compression.evaluate.rates import binomial_rate, poisson_rate
from vision_line_compression.evaluate.results import (
    Accuracy,
    CalibrationBin,
    ClassAccuracy,
    CorruptedPoint,
    EvaluatedData,
    EvaluatedModel,
    Evaluation,
    EvaluationSettings,
    Interval,
    MissedGroup,
    OperatingPoint,
    PairedDifference,
    Robustness,
    RobustnessComparison,
    ScoreCalibration,
    Speed,
    Sweep,
)
from vision_line_compression.report.card import (
    Headline,
    Identity,
    KeptChannels,
    ReportCard,
    ReportRow,
    RowKind,
    SensitivityCurve,
)

CLASSES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
BOXES, IMAGES = 2195, 350


def _evaluation(
    *,
    map50_95: float = 0.70,
    missed: int = 80,
    params: int = 3_000_000,
    wrong: int = 300,
    images_per_s: float = 20.0,
    data_sha256: str = "d" * 64,
) -> Evaluation:
    settings = EvaluationSettings(score_threshold=0.25, nms_iou=0.7)
    return Evaluation(
        model=EvaluatedModel(
            name="model", sha256="a" * 64, precision="fp32", file_bytes=4 * params, params=params, macs=1400 * params,
            input_shapes_hw=((640, 640),),
        ),
        data=EvaluatedData(
            split="test", sha256=data_sha256, images=IMAGES, clean_images=0, boxes=BOXES, classes=CLASSES
        ),
        settings=settings,
        accuracy=Accuracy(
            map50_95=map50_95, map50=map50_95 + 0.25, map75=map50_95 + 0.1,
            by_size={"small": map50_95 - 0.05, "medium": map50_95 + 0.02, "large": None},
            by_class={name: ClassAccuracy(boxes=366, ap50_95=map50_95, ap50=map50_95 + 0.25) for name in CLASSES},
        ),
        operating=tuple(_point(iou, missed, wrong) for iou in settings.match_ious),
        sweep=tuple(_sweep(iou, missed, wrong) for iou in settings.match_ious),
        calibration=_calibration(),
        speed=Speed(
            device="a processor", input_shape_hw=(640, 640), latency_p50_ms=1000 / images_per_s,
            latency_p99_ms=1400 / images_per_s, images_per_s=images_per_s, rounds=(images_per_s,) * 3, memory_mb=120,
            engine_images_per_s=1.1 * images_per_s, engine_rounds=(1.1 * images_per_s,) * 3,
        ),
    )  # fmt: skip


def _point(iou: float, missed: int, wrong: int) -> OperatingPoint:
    by_class = {name: _found(366, missed // 6 + number * 2) for number, name in enumerate(CLASSES)}
    sizes = {
        "8-16": _found(40, 9),
        "16-24": _found(420, missed // 3),
        "24-32": _found(700, missed // 4),
        "96-": _found(0, 0),
    }
    return OperatingPoint(
        match_iou=iou, threshold=0.25, boxes=BOXES, missed=missed, unseen=missed // 2,
        miss_rate=binomial_rate(missed, BOXES), false_detections=wrong, false_per_image=poisson_rate(wrong, IMAGES),
        images_with_false=binomial_rate(min(wrong, IMAGES), IMAGES), clean_images_alarmed=binomial_rate(0, 0),
        precision=0.9, by_class=by_class, by_longer_side=sizes,
    )  # fmt: skip


def _found(boxes: int, missed: int) -> MissedGroup:
    return MissedGroup(boxes=boxes, missed=missed, miss_rate=binomial_rate(missed, boxes))


def _sweep(iou: float, missed: int, wrong: int) -> Sweep:
    lost = [round(missed * (0.2 + threshold**2 * 14)) for threshold in SWEEP_THRESHOLDS]
    false = [round(wrong * (0.25 / threshold) ** 1.3) for threshold in SWEEP_THRESHOLDS]
    return Sweep(
        match_iou=iou, threshold=SWEEP_THRESHOLDS, missed=tuple(lost), false_detections=tuple(false),
        miss_rate=tuple(one / BOXES for one in lost), false_per_image=tuple(one / IMAGES for one in false),
        best_f1_threshold=0.4,
    )  # fmt: skip


def _calibration() -> ScoreCalibration:
    bins = [
        CalibrationBin(
            low=n / 10, high=(n + 1) / 10, detections=100, mean_score=n / 10 + 0.05, precision=(n / 10) ** 1.4
        )
        for n in range(10)
    ]
    return ScoreCalibration(floor=0.05, expected_error=0.08, bins=tuple(bins))


def _difference(change: float) -> PairedDifference:
    def around(value: float, width: float) -> Interval:
        return Interval(value=value, low=value - width, high=value + width)

    return PairedDifference(
        resamples=500, seed=0, map50_95=around(change, 0.006), map50=around(change / 2, 0.004),
        miss_rate=around(-change / 4, 0.004), false_per_image=around(0.02, 0.05),
    )  # fmt: skip


def _robustness() -> RobustnessComparison:
    def one(precision: str, factor: float) -> Robustness:
        ways = [
            ("none", 0),
            *((name, s) for name in ("rain", "fog", "blur", "noise", "dark", "bright") for s in (1, 2, 3)),
        ]
        points = tuple(
            CorruptedPoint(
                corruption=name, severity=severity, missed=20 * severity, miss_rate=binomial_rate(20 * severity, 300),
                false_detections=round(12 * factor * (1 + severity * len(name) / 3)),
                false_per_image=poisson_rate(round(12 * factor * (1 + severity * len(name) / 3)), 50),
            )
            for name, severity in ways
        )  # fmt: skip
        return Robustness(model="model", precision=precision, images=50, seed=0, points=points)

    def interval(value: float) -> Interval:
        return Interval(value=value, low=value - 0.05, high=value + 0.02)

    return RobustnessComparison(
        reference=one("fp32", 1.0),
        candidate=one("int8", 0.85),
        false_per_image=interval(-0.08),
        miss_rate=interval(0.01),
    )


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    """Return the factory of evaluations."""
    return _evaluation


@pytest.fixture
def card() -> ReportCard:
    """Return a card with all kinds of plots, in which some rows were not run."""
    figures = {
        RowKind.PARENT: (0.700, 3_000_000, 20.0),
        RowKind.PRUNED: (0.210, 1_200_000, 46.0),
        RowKind.RECALIBRATED: (0.395, 1_200_000, 46.0),
        RowKind.RECOVERED: (0.684, 1_200_000, 46.0),
        RowKind.DISTILLED: (0.703, 1_200_000, 46.0),
        RowKind.INT8_MAX: (0.691, 1_200_000, 74.0),
        RowKind.INT8_MSE: (0.699, 1_200_000, 74.5),
        RowKind.LONGER: (0.706, 3_000_000, 20.0),
        RowKind.NO_TEACHER: (0.692, 1_200_000, 46.0),
        RowKind.NARROW: (0.655, 1_180_000, 45.0),
    }
    evaluations = {
        kind: _evaluation(map50_95=score, params=params, images_per_s=rate, missed=80 if score > 0.69 else 160)
        for kind, (score, params, rate) in figures.items()
    }
    rows = tuple(
        ReportRow(
            kind=kind, title=kind.heading, note=kind.note, epochs=20.0, evaluation=evaluations.get(kind),
            difference=None if kind not in figures or kind is RowKind.LONGER else _difference(figures[kind][0] - 0.706),
            from_float=_difference(figures[kind][0] - 0.703) if figures.get(kind) and kind.group == "int8" else None,
            speedup=figures[kind][2] / 20 if kind in figures else None,
            engine_speedup=1.04 * figures[kind][2] / 20 if kind in figures else None,
        )
        for kind in RowKind
    )  # fmt: skip
    product, reference = evaluations[RowKind.INT8_MSE], evaluations[RowKind.LONGER]
    gates = check_gates(
        product,
        {"parent": evaluations[RowKind.PARENT], "parent trained longer": reference},
        GateSettings(map50_drop=None, params_ratio=0.45, macs_ratio=0.4, onnx_ratio=0.5, speedup=3.8),
        speedup=3.72,
    )
    layers = [f"model.{number}.{part}.conv" for number in range(22) for part in ("cv1", "cv2")]
    stages = ("p1", "p2", "p3", "p4", "p5", "head")
    return ReportCard(
        identity=Identity(
            name="boards-small", family="v8", created_utc="2026-11-24T05:00:00Z", parent_sha256="b" * 64,
            recipe_sha256="c" * 64, data_sha256={"train": "e" * 64, "test": "d" * 64}, seed=3,
            versions={"vision-line": "0.1.0", "torch": "2.14"}, machine="a processor, 2 cores",
        ),
        headline=Headline(
            params_ratio=0.4, macs_ratio=0.4, onnx_ratio=0.4, map50_95_drop=0.7, map50_drop=0.7,
            miss_rate=product.operating[0].miss_rate.value, parent_miss_rate_interval=(0.029, 0.045),
            speedup_cpu_640=3.87, speedup_cpu_640_application=3.72,
        ),
        product=RowKind.INT8_MSE,
        reference=RowKind.LONGER,
        passed=all(gate.passed for gate in gates),
        gates=gates,
        rows=rows,
        kept_channels=tuple(
            KeptChannels(name=name, stage=stages[min(n // 8, 5)], kept=max(16, 256 - 5 * n), channels=256)
            for n, name in enumerate(layers)
        ),
        sensitivity=tuple(
            SensitivityCurve(
                name=name,
                kept_share=(1.0, 0.75, 0.5, 0.25),
                score_share=(1.0, *(1 - drop * (0.05 + n % 7 / 8) for drop in (0.1, 0.35, 0.9))),
            )
            for n, name in enumerate(layers[::2])
        ),
        robustness=_robustness(),
        remarks=("Controls were trained at 320 pixels and for half the epochs.",),
    )  # fmt: skip
