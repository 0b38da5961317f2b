# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shipped bundle evaluated on drawn boards, through the engine, up to a report card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vision_line.devices.model.model import Model, open_model
from vision_line.errors import ConfigError, ModelError
from vision_line_compression.data.dataset import Dataset, open_dataset
from vision_line_compression.evaluate.compare import difference, resample
from vision_line_compression.evaluate.evaluation import evaluate, measure, open_evaluated
from vision_line_compression.evaluate.gates import GateSettings, check_comparable
from vision_line_compression.evaluate.predict import Predictions, load_predictions, predict, save_predictions
from vision_line_compression.evaluate.results import Evaluation, EvaluationSettings
from vision_line_compression.evaluate.robustness import compare_robustness
from vision_line_compression.evaluate.speed import engine_speedup, measure_speed, speedup
from vision_line_compression.report.card import Identity, RowKind
from vision_line_compression.report.card_building import MeasuredRun, better_parent, build_card
from vision_line_compression.report.page import render_page


@pytest.fixture(scope="module")
def dataset(boards: Path) -> Dataset:
    """Return a dozen drawn images of boards."""
    return open_dataset(boards, "train").subset(12)


@pytest.fixture(scope="module")
def model() -> Model:
    """Return the shipped model."""
    return open_model(None)


@pytest.fixture(scope="module")
def predictions(model: Model, dataset: Dataset) -> Predictions:
    """Return what it finds."""
    return predict(model, dataset)


@pytest.fixture(scope="module")
def evaluation(predictions: Predictions, model: Model, dataset: Dataset) -> Evaluation:
    """Return how good that is."""
    return measure(predictions, model, dataset, EvaluationSettings())


def test_evaluation_is_whole(evaluation: Evaluation, model: Model, dataset: Dataset) -> None:
    """The counts add up, and the model's own thresholds are filled in."""
    boxes = sum(len(image.class_id) for image in dataset.images)
    first = evaluation.operating[0]

    assert evaluation.model.sha256 == model.sha256
    assert (evaluation.data.images, evaluation.data.boxes) == (len(dataset.images), boxes)
    assert evaluation.settings.score_threshold == model.score_threshold
    assert [point.match_iou for point in evaluation.operating] == [0.5, 0.33]
    assert first.boxes == boxes == sum(found.boxes for found in first.by_class.values())
    assert first.missed == sum(found.missed for found in first.by_longer_side.values())
    assert evaluation.operating[1].missed <= first.missed
    assert 0.1 < (evaluation.accuracy.map50_95 or 0) < (evaluation.accuracy.map50 or 0) <= 1
    assert Evaluation.model_validate_json(evaluation.model_dump_json()) == evaluation


def test_operating_point_is_what_an_inspection_sees(model: Model, dataset: Dataset, evaluation: Evaluation) -> None:
    """Predicting with the operating threshold as floor, as a camera is inspected, counts the same."""
    settings = EvaluationSettings(score_floor=model.score_threshold)

    inspected = measure(predict(model, dataset, settings=settings), model, dataset, settings)

    assert inspected.operating == evaluation.operating


def test_predictions_survive_the_disk(tmp_path: Path, predictions: Predictions) -> None:
    """Saved predictions are the same when read again."""
    path = tmp_path / "found.npz"

    save_predictions(predictions, path)
    read = load_predictions(path)

    assert replace(read, detections=()) == replace(predictions, detections=())
    for ours, theirs in zip(read.detections, predictions.detections, strict=True):
        np.testing.assert_array_equal(ours.xyxy, theirs.xyxy)
        np.testing.assert_array_equal(ours.score, theirs.score)
        np.testing.assert_array_equal(ours.class_id, theirs.class_id)


def test_foreign_predictions_are_refused(tmp_path: Path) -> None:
    """Another file is named, not misread."""
    path = tmp_path / "found.npz"
    path.write_bytes(b"nothing of the kind")

    with pytest.raises(ConfigError, match=r"found\.npz: no saved predictions"):
        load_predictions(path)


def test_progress_reaches_the_end(model: Model, dataset: Dataset) -> None:
    """Each image is reported once, and a subset is what was asked for."""
    seen: list[tuple[int, int]] = []

    found = evaluate(model, dataset, (192, 320), EvaluationSettings(images=3), lambda *step: seen.append(step))

    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert found.data.images == 3


def test_other_classes_are_refused(model: Model, dataset: Dataset) -> None:
    """A data set whose classes are in another order would count every hit as wrong."""
    turned = replace(dataset, classes=dataset.classes[::-1])

    with pytest.raises(ConfigError, match="names: expected"):
        predict(model, turned)


def test_model_does_not_differ_from_itself(predictions: Predictions, evaluation: Evaluation, dataset: Dataset) -> None:
    """A comparison with itself is 0 and noise; one of half its detections is not."""
    drawn = resample(predictions, evaluation, dataset, resamples=20)

    same = difference(drawn, drawn, 0)

    assert (same.map50_95.value, same.map50_95.low, same.map50_95.high) == (0, 0, 0)
    assert same.miss_rate.is_noise


def test_worse_model_is_distinguished(
    predictions: Predictions, evaluation: Evaluation, model: Model, dataset: Dataset
) -> None:
    """A model that keeps only every third detection is worse beyond chance, in the direction that is said."""
    fewer = replace(predictions, detections=tuple(found[::3] for found in predictions.detections))
    worse = measure(fewer, model, dataset, EvaluationSettings())

    ours, theirs = (resample(*pair, dataset, resamples=60) for pair in ((fewer, worse), (predictions, evaluation)))
    found = difference(ours, theirs, 0)

    assert found.map50_95.high < 0 < found.miss_rate.low
    assert found.map50_95.value == pytest.approx(
        (worse.accuracy.map50_95 or 0) - (evaluation.accuracy.map50_95 or 0), abs=2e-6
    )


def test_other_rules_cannot_be_compared(evaluation: Evaluation) -> None:
    """Another NMS or limit of detections makes other figures."""
    settings = evaluation.settings.model_copy(update={"nms_iou": 0.6, "max_detections": 100})
    other = evaluation.model_copy(update={"settings": settings})

    with pytest.raises(ConfigError) as caught:
        check_comparable(other, evaluation)

    assert len(caught.value.problems) == 2


def test_spoiled_images(model: Model, dataset: Dataset) -> None:
    """All corruptions and severities are run on the same images; the same model fares the same."""
    seen: list[tuple[int, int]] = []

    comparison = compare_robustness(model, model, dataset, images=1, progress=lambda *step: seen.append(step))

    assert comparison.reference == comparison.candidate
    assert len(comparison.reference.points) == 1 + 6 * 3
    assert (comparison.false_per_image.value, comparison.miss_rate.value) == (0, 0)
    assert seen[-1] == (38, 38)


def test_speed_takes_turns(model: Model, dataset: Dataset) -> None:
    """Every round measures both models."""
    first, second = measure_speed([model, model], dataset, (192, 320), seconds=0.4, rounds=2)

    assert len(first.rounds) == len(second.rounds) == len(first.engine_rounds) == len(second.engine_rounds) == 2
    assert 0 < first.latency_p50_ms <= first.latency_p99_ms
    assert speedup(second, first) > 0
    assert engine_speedup(second, first) > 0
    assert first.engine_images_per_s > 0


def test_bundle_is_a_subject(tmp_path: Path, model: Model) -> None:
    """A bundle or its ONNX file is evaluated as it is."""
    assert open_evaluated(model.path.parent, tmp_path) == model
    assert open_evaluated(model.path, tmp_path).sha256 == model.sha256


def test_missing_subject_is_refused(tmp_path: Path) -> None:
    """What is not there is named."""
    with pytest.raises(ModelError, match="not found"):
        open_evaluated(tmp_path / "model.onnx", tmp_path)


def identity_of(dataset: Dataset) -> Identity:
    """Return what a report says of its run."""
    return Identity(
        name="boards", family="v8", created_utc="2026-01-01T00:00:00Z", parent_sha256="0" * 64, recipe_sha256="0" * 64,
        data_sha256={"train": dataset.sha256()}, seed=0, versions={}, machine="test",
    )  # fmt: skip


def test_report_of_a_real_evaluation(predictions: Predictions, evaluation: Evaluation, dataset: Dataset) -> None:
    """Real figures become a card and a page; what was not run stays in sight."""
    run = MeasuredRun(evaluation, predictions)
    runs = {RowKind.PARENT: run, RowKind.INT8_MSE: run}

    card = build_card(identity_of(dataset), runs, RowKind.INT8_MSE, dataset, GateSettings(), resamples=10)

    assert card.passed
    assert card.headline.params_ratio == 1.0
    assert card.headline.map50_95_drop == 0.0
    assert sum(row.evaluation is None for row in card.rows) == len(card.rows) - 2
    assert "INT8, MSE against parent" in render_page(card)


def test_the_unsigned_variant_passes_the_same_gates(
    predictions: Predictions, evaluation: Evaluation, model: Model, dataset: Dataset
) -> None:
    """It inspects on some processors under the same name: what it loses fails the report, and the gate says whose."""
    fewer = replace(predictions, detections=tuple(found[::3] for found in predictions.detections))
    worse = MeasuredRun(measure(fewer, model, dataset, EvaluationSettings()), fewer)
    same = MeasuredRun(evaluation, predictions)
    runs = {RowKind.PARENT: same, RowKind.INT8_MAX: same, RowKind.INT8_UNSIGNED: worse}

    card = build_card(
        identity_of(dataset), runs, RowKind.INT8_MAX, dataset, GateSettings(params_ratio=1.0), resamples=10
    )

    assert not card.passed
    assert {(gate.name, gate.form) for gate in card.gates if not gate.passed} >= {("map50_95_drop", "qdq-u8-7bit")}
    assert all(gate.passed for gate in card.gates if gate.form is None)
    assert [gate.form for gate in card.gates if gate.name == "params_ratio"] == [None]
    assert "qdq-u8-7bit" in render_page(card)


def test_int8_is_compared_with_the_float_model_that_was_quantized(
    predictions: Predictions, evaluation: Evaluation, model: Model, dataset: Dataset
) -> None:
    """What rounding alone took: nothing where both find the same, else the very difference."""
    fewer = replace(predictions, detections=tuple(found[::3] for found in predictions.detections))
    same, worse = (
        MeasuredRun(measure(found, model, dataset, EvaluationSettings()), found) for found in (predictions, fewer)
    )
    runs = {RowKind.PARENT: worse, RowKind.RECOVERED: same, RowKind.INT8_MAX: same, RowKind.INT8_MSE: worse}

    card = build_card(
        identity_of(dataset),
        runs,
        RowKind.INT8_MAX,
        dataset,
        GateSettings(),
        float_product=RowKind.RECOVERED,
        resamples=10,
    )

    equal, lost = card.row(RowKind.INT8_MAX).from_float, card.row(RowKind.INT8_MSE).from_float
    assert equal is not None
    assert lost is not None
    assert {(found.value, found.low, found.high) for found in (equal.map50_95, equal.miss_rate)} == {(0.0, 0.0, 0.0)}
    point, before = worse.evaluation.operating[0], evaluation.operating[0]
    assert point.missed > before.missed
    assert lost.miss_rate.value == pytest.approx((point.missed - before.missed) / before.boxes, abs=1e-6)
    assert card.row(RowKind.RECOVERED).from_float is None
    assert "against its float model" in render_page(card)


def test_a_control_is_compared_with_what_it_varies(
    predictions: Predictions, evaluation: Evaluation, model: Model, dataset: Dataset
) -> None:
    """The better parent says nothing of one change: a float control is held against the product's own float model."""
    fewer = replace(predictions, detections=tuple(found[::3] for found in predictions.detections))
    same, worse = (
        MeasuredRun(measure(found, model, dataset, EvaluationSettings()), found) for found in (predictions, fewer)
    )
    runs = {
        RowKind.PARENT: worse, RowKind.RECOVERED: worse, RowKind.DISTILLED: same, RowKind.INT8_MAX: worse,
        RowKind.LONGER: same, RowKind.UNIFORM: worse, RowKind.PARENT_INT8: same,
    }  # fmt: skip

    card = build_card(
        identity_of(dataset), runs, RowKind.INT8_MAX, dataset, GateSettings(),
        float_product=RowKind.DISTILLED, resamples=10,
    )  # fmt: skip

    assert {row.kind: row.control_of for row in card.rows if row.control_of is not None} == {
        RowKind.UNIFORM: RowKind.DISTILLED,
        RowKind.PARENT_INT8: RowKind.INT8_MAX,
    }
    point, before = worse.evaluation.operating[0], evaluation.operating[0]
    missed = (point.missed - before.missed) / before.boxes
    uniform, exported = card.row(RowKind.UNIFORM), card.row(RowKind.PARENT_INT8)
    assert uniform.from_product is not None
    assert uniform.from_product.miss_rate.value == pytest.approx(missed, abs=1e-6)
    assert exported.from_product is not None
    assert exported.from_product.miss_rate.value == pytest.approx(-missed, abs=1e-6)
    assert exported.from_float is not None  # against the parent, which it was made of
    assert exported.from_float.miss_rate.value == pytest.approx(-missed, abs=1e-6)
    assert card.row(RowKind.LONGER).from_product is None
    assert "against Distilled: mAP50-95" in " ".join(render_page(card).split())


def test_groups_of_images_widen_what_a_report_shows(
    predictions: Predictions, evaluation: Evaluation, dataset: Dataset
) -> None:
    """No interval becomes narrower; the gates judge by the exact ones, and the page says what is drawn."""
    run = MeasuredRun(evaluation, predictions)
    runs = {RowKind.PARENT: run, RowKind.INT8_MSE: run}
    by = r"(\d)\."  # the last digit, of a dozen

    card = build_card(identity_of(dataset), runs, RowKind.INT8_MSE, dataset, GateSettings(), group=by, resamples=200)

    shown = card.row(RowKind.INT8_MSE).evaluation
    assert shown is not None
    before, after = evaluation.operating[0], shown.operating[0]
    assert card.grouped is not None
    assert after.groups == card.grouped.groups > 2
    assert after.miss_rate.low <= before.miss_rate.low <= before.miss_rate.high <= after.miss_rate.high
    assert after.miss_rate.value == before.miss_rate.value
    assert card.headline.parent_miss_rate_interval == (after.miss_rate.low, after.miss_rate.high)
    (gate,) = (gate for gate in card.gates if gate.name == "miss_rate_within_parent")
    assert gate.limit == before.miss_rate.high
    assert f"{card.grouped.groups} groups of images" in render_page(card)


def test_report_needs_parent_and_product(predictions: Predictions, evaluation: Evaluation, dataset: Dataset) -> None:
    """A report without what it compares is refused."""
    with pytest.raises(ConfigError, match="parent"):
        better_parent({RowKind.INT8_MSE: MeasuredRun(evaluation, predictions)})
    assert better_parent({RowKind.PARENT: MeasuredRun(evaluation, predictions)}) is RowKind.PARENT
