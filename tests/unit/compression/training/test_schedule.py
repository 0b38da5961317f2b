# SPDX-License-Identifier: AGPL-3.0-or-later
"""Phases that follow from a recipe's training sections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vision_line_compression.training.schedule import (
    DistillSettings,
    RecoverSettings,
    SparsifySettings,
    TrainSettings,
    plan_distillation,
    plan_epochs,
    plan_fine_tuning,
    plan_sparsifying,
)

TRAIN = TrainSettings(base_rate=0.01)


def test_recovery_settles_first_and_then_takes_most_of_the_base_rate() -> None:
    """1e-4 until settled, then 60 % of the base rate along a cosine."""
    schedule = plan_fine_tuning(RecoverSettings(epochs=20), TRAIN, None, seed=3)

    settle, cosine = schedule.phases
    assert (settle.epochs, settle.rate, settle.final_share, settle.patience) == (5, 1e-4, 1.0, 2)
    assert (cosine.epochs, cosine.rate, cosine.final_share, cosine.patience) == (15, 0.006, 0.01, None)
    assert schedule.epochs == 20


def test_length_as_a_share_of_the_parents_training() -> None:
    """20 % of 150 epochs are 30."""
    assert plan_epochs(RecoverSettings(share=0.2), 150) == 30


def test_a_share_needs_the_parents_length() -> None:
    """There is nothing to guess it from."""
    with pytest.raises(ValueError, match=r"parent\.epochs"):
        plan_epochs(RecoverSettings(share=0.2), None)


@pytest.mark.parametrize("length", [{}, {"epochs": 3, "share": 0.2}])
def test_exactly_one_length(length: dict[str, float]) -> None:
    """Epochs or a share, not both and not none."""
    with pytest.raises(ValidationError, match="either epochs or share"):
        RecoverSettings.model_validate(length)


@given(epochs=st.integers(1, 500), share=st.floats(0.0, 1.0))
def test_phases_take_the_epochs_that_were_asked_for(epochs: int, share: float) -> None:
    """Whatever the share of the first; the second always gets one."""
    schedule = plan_fine_tuning(RecoverSettings(epochs=epochs, settle_share=share), TRAIN, None, seed=0)

    assert schedule.epochs == epochs
    assert schedule.phases[-1].name == "cosine"
    assert all(phase.epochs >= 1 for phase in schedule.phases)


def test_distillation_and_its_control_are_one_phase() -> None:
    """The control runs the same phase without a teacher."""
    schedule = plan_distillation(DistillSettings(epochs=7), TRAIN, seed=0)

    assert [(phase.epochs, phase.rate) for phase in schedule.phases] == [(7, 0.006)]


def test_sparsity_is_a_phase_of_its_own() -> None:
    """Its weight is in the phase."""
    schedule = plan_sparsifying(SparsifySettings(epochs=2, strength=0.02), TRAIN, seed=0)

    assert schedule.phases[0].sparsity == 0.02
