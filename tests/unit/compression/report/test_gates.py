# SPDX-License-Identifier: AGPL-3.0-or-later
"""Gates: what passes, what fails, and that nothing unmeasured passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vision_line.errors import ConfigError, ExitCode
from vision_line_compression.evaluate.gates import GateSettings, check_gates, check_robustness, exit_code
from vision_line_compression.evaluate.results import Evaluation, Interval, MaskAccuracy, Rate
from vision_line_compression.report.card import ReportCard

MakeEvaluation = Callable[..., Evaluation]

OFF = GateSettings(map50_95_drop=None, map50_drop=None, class_recall_drop=None, miss_rate_within_parent=False)


def test_equal_models_pass(make_evaluation: MakeEvaluation) -> None:
    """A model passes all gates against itself."""
    gates = check_gates(make_evaluation(), {"parent": make_evaluation()}, GateSettings())

    assert [gate.name for gate in gates] == [
        "map50_95_drop",
        "map50_drop",
        "class_recall_drop",
        "miss_rate_within_parent",
    ]
    assert exit_code(gates) == ExitCode.DONE


@pytest.mark.parametrize(("score", "passed"), [(0.695, True), (0.685, False)])
def test_drop_is_in_points(make_evaluation: MakeEvaluation, score: float, passed: bool) -> None:
    """A drop of more than one hundredth fails a limit of one point."""
    settings = OFF.model_copy(update={"map50_95_drop": 1.0})

    (gate,) = check_gates(make_evaluation(map50_95=score), {"parent": make_evaluation(map50_95=0.70)}, settings)

    assert gate.passed is passed
    assert gate.found == pytest.approx(100 * (0.70 - score), abs=1e-6)
    assert exit_code([gate]) == (ExitCode.DONE if passed else ExitCode.GATE_FAILED)


@pytest.mark.parametrize(("score", "passed"), [(0.595, True), (0.585, False)])
def test_masks_may_not_drop_more_than_boxes(make_evaluation: MakeEvaluation, score: float, passed: bool) -> None:
    """The same limit, against the parent whose masks are better; a model of masks is chosen by the mean of both."""
    settings = OFF.model_copy(update={"map50_95_drop": 1.0})

    def masked(of_masks: float) -> Evaluation:
        evaluation = make_evaluation(map50_95=0.70)
        masks = MaskAccuracy(map50_95=of_masks, map50=0.9, map75=0.5, by_class={})
        return evaluation.model_copy(update={"accuracy": evaluation.accuracy.model_copy(update={"masks": masks})})

    parents = {"parent": masked(0.5), "parent trained longer": masked(0.6)}
    boxes, masks = check_gates(masked(score), parents, settings)

    assert (boxes.name, masks.name) == ("map50_95_drop", "mask_map50_95_drop")
    assert (boxes.passed, masks.passed) == (True, passed)
    assert "trained longer" in masks.detail
    assert masked(score).accuracy.deciding == pytest.approx((0.70 + score) / 2)
    assert make_evaluation(map50_95=0.70).accuracy.deciding == 0.70


def test_more_misses_than_the_parents_interval_fail(make_evaluation: MakeEvaluation) -> None:
    """The miss rate may be within the parent's interval, not above it."""
    settings = OFF.model_copy(update={"miss_rate_within_parent": True})
    parent = {"parent": make_evaluation(missed=80)}  # 2.9 to 4.5 %

    (within,) = check_gates(make_evaluation(missed=95), parent, settings)
    (above,) = check_gates(make_evaluation(missed=110), parent, settings)

    assert (within.passed, above.passed) == (True, False)
    assert "80 of 2195" in above.detail


def test_worst_class_decides(make_evaluation: MakeEvaluation) -> None:
    """The class that lost most recall is named."""
    settings = OFF.model_copy(update={"class_recall_drop": 1.0})

    (gate,) = check_gates(make_evaluation(missed=140), {"parent": make_evaluation(missed=80)}, settings)

    assert not gate.passed
    assert gate.found == pytest.approx(100 * 10 / 366, abs=1e-6)
    assert "worst class" in gate.detail


def test_each_figure_is_held_against_the_better_parent_in_it(make_evaluation: MakeEvaluation) -> None:
    """One that has more mAP and misses more defects is no excuse for misses; nor the other way round."""
    parents = {
        "parent": make_evaluation(map50_95=0.700, missed=62, params=3_000_000),
        "parent trained longer": make_evaluation(map50_95=0.720, missed=110, params=3_000_001),
    }
    settings = GateSettings(map50_95_drop=1.0, map50_drop=1.0, class_recall_drop=1.0, params_ratio=1.0)

    gates = {gate.name: gate for gate in check_gates(make_evaluation(map50_95=0.705, missed=100), parents, settings)}

    assert not any(gate.passed for name, gate in gates.items() if name != "params_ratio")
    assert gates["map50_95_drop"].found == pytest.approx(1.5)
    assert gates["map50_drop"].found == pytest.approx(1.5)
    assert gates["map50_95_drop"].detail == "points, against the parent trained longer"
    assert gates["class_recall_drop"].found == pytest.approx(100 * (100 // 6 - 62 // 6) / 366, abs=1e-6)
    assert gates["class_recall_drop"].detail.endswith("against the parent")
    assert gates["miss_rate_within_parent"].limit == parents["parent"].operating[0].miss_rate.high
    assert gates["miss_rate_within_parent"].detail.endswith("parent 62 of 2195")
    assert gates["params_ratio"].found == 1.0  # sizes are the parent's


def test_classes_of_which_nothing_is_known_are_named(make_evaluation: MakeEvaluation) -> None:
    """A gate that passes says of which classes it says nothing."""
    evaluation = make_evaluation()
    point = evaluation.operating[0]
    nothing = {"short": point.by_class["short"].model_copy(update={"boxes": 0, "missed": 0})}
    by_class = {name: found for name, found in point.by_class.items() if name != "spur"} | nothing
    blind = evaluation.model_copy(update={"operating": (point.model_copy(update={"by_class": by_class}),)})

    gates = check_gates(blind, {"parent": blind}, GateSettings(miss_rate_within_parent=False))

    assert [gate.detail.partition("; ")[2] for gate in gates] == ["nothing is known of short, spur: no true boxes"] * 3


def test_a_wider_interval_of_groups_lets_nothing_more_pass(make_evaluation: MakeEvaluation) -> None:
    """The parent's own misses on the same images need no room for other boards."""
    settings = OFF.model_copy(update={"miss_rate_within_parent": True})
    parent = make_evaluation(missed=80)
    point = parent.operating[0]
    wide = point.model_copy(update={"groups": 11, "miss_rate": Rate(value=point.miss_rate.value, low=0.0, high=0.2)})

    (gate,) = check_gates(
        make_evaluation(missed=110), {"parent": parent.model_copy(update={"operating": (wide,)})}, settings
    )

    assert not gate.passed
    assert gate.limit == point.miss_rate.high


@pytest.mark.parametrize(
    ("limit", "value", "passed"), [(None, 0.0114, False), (None, 0.009, True), (2.0, 0.0114, True), (0.5, 0.009, False)]
)
def test_misses_on_corrupted_images_are_a_gate(
    card: ReportCard, limit: float | None, value: float, passed: bool
) -> None:
    """Of the quantized model against its float one, in points; a point where nothing was said, nothing unmeasured."""
    assert card.robustness is not None
    rise = Interval(value=value, low=value - 0.005, high=value + 0.005)
    comparison = card.robustness.model_copy(update={"miss_rate": rise})
    settings = GateSettings(corrupted_miss_rise=limit)

    (gate,) = check_robustness(comparison, settings)

    assert (gate.name, gate.passed) == ("corrupted_miss_rise", passed)
    assert gate.found == pytest.approx(100 * value)
    assert "on 50 images" in gate.detail
    assert check_robustness(None, settings) == ()


def test_sizes_are_ratios(make_evaluation: MakeEvaluation) -> None:
    """Parameters, MACs and file size are shares of the parent's."""
    settings = OFF.model_copy(update={"params_ratio": 0.45, "macs_ratio": 0.35, "onnx_ratio": 0.45})

    gates = check_gates(make_evaluation(params=1_200_000), {"parent": make_evaluation()}, settings)

    assert [(gate.name, gate.passed) for gate in gates] == [
        ("params_ratio", True),
        ("macs_ratio", False),
        ("onnx_ratio", True),
    ]


def test_what_was_not_measured_fails(make_evaluation: MakeEvaluation) -> None:
    """A speed gate without a measurement is no pass."""
    settings = OFF.model_copy(update={"speedup": 3.7})

    (unmeasured,) = check_gates(make_evaluation(), {"parent": make_evaluation()}, settings)
    (measured,) = check_gates(make_evaluation(), {"parent": make_evaluation()}, settings, speedup=3.8)

    assert (unmeasured.passed, unmeasured.found, unmeasured.detail) == (False, None, "not measured")
    assert measured.passed


def test_other_images_cannot_be_compared(make_evaluation: MakeEvaluation) -> None:
    """Evaluations on another data set are refused, naming what differs."""
    with pytest.raises(ConfigError, match=r"data\.sha256"):
        check_gates(make_evaluation(data_sha256="e" * 64), {"parent": make_evaluation()}, GateSettings())
