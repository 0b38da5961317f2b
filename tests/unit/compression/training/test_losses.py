# SPDX-License-Identifier: AGPL-3.0-or-later
"""Distillation losses: values worked out by hand, zero where both agree, gradients that match finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vision_line_compression.training.losses import (
    angle_difference,
    attention_transfer,
    bernoulli_kl,
    bin_kl,
    channel_wise,
    distance_l1,
    score_weighted_l2,
    teacher_best_score,
)

ALL = torch.ones(1, 1, dtype=torch.bool)


def logit(p: float) -> float:
    """Invert the sigmoid."""
    return math.log(p / (1 - p))


def test_bernoulli_kl_of_one_anchor() -> None:
    """P = 0.8 against q = 0.5: 0.8 ln 1.6 + 0.2 ln 0.4 = 0.192745."""
    loss = bernoulli_kl(torch.tensor([[[0.0]]]), torch.tensor([[[logit(0.8)]]]), ALL, temperature=1.0)

    assert loss.item() == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), abs=1e-6)


def test_bernoulli_kl_adds_classes_and_averages_the_foreground() -> None:
    """Two classes of one foreground anchor add up; the anchor outside the foreground does not count."""
    teacher = torch.tensor([[[logit(0.8), 9.0], [logit(0.8), -9.0]]])  # (1 image, 2 classes, 2 anchors)
    foreground = torch.tensor([[True, False]])

    loss = bernoulli_kl(torch.zeros(1, 2, 2), teacher, foreground, temperature=1.0)

    assert loss.item() == pytest.approx(2 * 0.192745, abs=1e-5)


def test_half_a_turn_is_no_difference_of_angles_and_a_quarter_is_the_largest() -> None:
    """A rectangle that is turned by pi is itself; by pi / 2 its sides are swapped, which are learned side by side."""
    teacher = torch.tensor([[[0.3, 0.3, 0.3]]])
    student = teacher + torch.tensor([math.pi, math.pi / 2, 0.1])

    each = [angle_difference(student, teacher, torch.eye(3, dtype=torch.bool)[n : n + 1]).item() for n in range(3)]

    assert each == pytest.approx([0.0, 1.0, math.sin(0.1) ** 2], abs=1e-6)
    assert angle_difference(student, teacher, torch.zeros(1, 3, dtype=torch.bool)).item() == 0.0


def test_temperature_softens_and_its_square_keeps_the_size() -> None:
    """At T the logits are divided by T and the divergence is multiplied by T squared."""
    student, teacher = torch.tensor([[[0.4]]]), torch.tensor([[[2.0]]])

    loss = bernoulli_kl(student, teacher, ALL, temperature=4.0)

    assert loss.item() == pytest.approx(16 * bernoulli_kl(student / 4, teacher / 4, ALL, 1.0).item(), rel=1e-5)


def test_large_logits_stay_finite() -> None:
    """A sure teacher and a surely wrong student give a large number, not infinity."""
    loss = bernoulli_kl(torch.tensor([[[-200.0]]]), torch.tensor([[[200.0]]]), ALL, temperature=1.0)

    assert loss.item() == pytest.approx(200.0)


def test_no_foreground_gives_zero_with_a_gradient() -> None:
    """An empty image neither teaches nor breaks the graph."""
    student = torch.zeros(1, 3, 2, requires_grad=True)

    loss = bernoulli_kl(student, torch.ones(1, 3, 2), torch.zeros(1, 2, dtype=torch.bool), 2.0)
    loss.backward()  # type: ignore[no-untyped-call]

    assert loss.item() == 0.0
    assert student.grad is not None
    assert not student.grad.any()


def test_bin_kl_of_two_bins() -> None:
    """P = (0.75, 0.25) against q = (0.5, 0.5) on one of four sides: (0.75 ln 1.5 + 0.25 ln 0.5) / 4."""
    teacher = torch.zeros(1, 8, 1)
    teacher[0, 0] = math.log(3.0)  # side 0, bin 0

    loss = bin_kl(torch.zeros(1, 8, 1), teacher, ALL, temperature=1.0, bins=2)

    assert loss.item() == pytest.approx((0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 4, abs=1e-6)


def test_distance_l1_averages_the_four_sides() -> None:
    """Sides that differ by 1, 0, 0 and 3 cells differ by 1 on average."""
    teacher = torch.tensor([[[1.0], [0.0], [0.0], [-3.0]]])

    assert distance_l1(torch.zeros(1, 4, 1), teacher, ALL).item() == pytest.approx(1.0)


def test_attention_transfer_of_maps_that_look_elsewhere() -> None:
    """Two unit vectors at right angles are at a squared distance of 2; channel counts may differ."""
    student = torch.zeros(1, 2, 1, 2)
    student[0, :, 0, 0] = 3.0
    teacher = torch.zeros(1, 5, 1, 2)
    teacher[0, 1, 0, 1] = 0.1

    assert attention_transfer(student, teacher).item() == pytest.approx(2.0, abs=1e-5)


def test_attention_transfer_ignores_the_scale() -> None:
    """A student that looks at the same places with weaker features has nothing to learn."""
    features = torch.rand(2, 4, 3, 3)

    assert attention_transfer(0.1 * features, features).item() == pytest.approx(0.0, abs=1e-10)


def test_channel_wise_of_two_places() -> None:
    """The same two-valued divergence, over the places of one channel."""
    teacher = torch.tensor([[[[math.log(3.0), 0.0]]]])

    loss = channel_wise(torch.zeros(1, 1, 1, 2), teacher, temperature=1.0)

    assert loss.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-6)


def test_score_weighted_l2_weighs_places() -> None:
    """Differences 1 and 3 with weights 0.75 and 0.25: 0.75 * 1 + 0.25 * 9 = 3."""
    teacher = torch.tensor([[[[1.0, 3.0]]]])

    loss = score_weighted_l2(torch.zeros(1, 1, 1, 2), teacher, torch.tensor([[0.75, 0.25]]))

    assert loss.item() == pytest.approx(3.0, abs=1e-6)


def test_best_score_is_the_largest_class() -> None:
    """Over the classes of each anchor, as a probability."""
    scores = teacher_best_score(torch.tensor([[[0.0, -1.0], [logit(0.9), -2.0]]]))

    assert scores.tolist() == [[pytest.approx(0.9), pytest.approx(1 / (1 + math.e))]]


def test_score_weighted_l2_is_that_of_ultralytics() -> None:
    """The comparison row is the built-in distillation, to the last digit that float32 has."""
    from ultralytics.nn.distill_model import DistillationModel

    built_in: Any = DistillationModel.loss_sl2
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.rand(2, 2, 8, 4, 4, generator=generator)
    score = torch.rand(2, 1, 16, generator=generator)

    expected = built_in(None, student, teacher, 0, (score,))

    torch.testing.assert_close(score_weighted_l2(student, teacher, score[:, 0]), expected)


MAP = (2, 3, 2, 2)
CASES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[int, ...]]] = {
    "bernoulli_kl": (lambda s, t: bernoulli_kl(s, t, torch.tensor([[True, False], [True, True]]), 3.0), (2, 3, 2)),
    "bin_kl": (lambda s, t: bin_kl(s, t, torch.ones(2, 2, dtype=torch.bool), 3.0, 4), (2, 16, 2)),
    "distance_l1": (lambda s, t: distance_l1(s, t, torch.ones(2, 2, dtype=torch.bool)), (2, 4, 2)),
    "attention_transfer": (attention_transfer, MAP),
    "channel_wise": (lambda s, t: channel_wise(s, t, 3.0), MAP),
    "score_weighted_l2": (lambda s, t: score_weighted_l2(s, t, torch.full((2, 4), 0.5)), MAP),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_match_finite_differences(name: str) -> None:
    """In double precision, for the student; the teacher gets none."""
    loss, shape = CASES[name]
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(shape, generator=generator, dtype=torch.float64)

    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), (student,))


@pytest.mark.parametrize("name", CASES)
def test_a_student_that_agrees_has_no_loss_and_no_gradient(name: str) -> None:
    """The minimum is where both are equal."""
    loss, shape = CASES[name]
    teacher = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    student = teacher.clone().requires_grad_()

    value = loss(student, teacher)
    value.backward()  # type: ignore[no-untyped-call]

    assert value.item() == pytest.approx(0.0, abs=1e-9)
    assert student.grad is not None
    assert student.grad.abs().max().item() < 1e-9
