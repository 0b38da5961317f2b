# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a report card takes from a pruning plan."""

from __future__ import annotations

from vision_line_compression.prune.groups import ChannelGroup
from vision_line_compression.prune.plan import PlannedGroup, PruningPlan
from vision_line_compression.prune.settings import Budget, PruneSettings
from vision_line_compression.report.card_building import kept_channels, sensitivity_curves


def make_plan(parent_score: float | None = 0.5, channels: int = 32, kept: int = 24) -> PruningPlan:
    """Return a plan with one group."""
    group = ChannelGroup(name="model.2.cv1.conv", channels=channels, members=())
    return PruningPlan(
        parent_sha256="0" * 64,
        family="v8",
        settings=PruneSettings(budget=Budget(params=0.5)),
        groups=(PlannedGroup(unit="model.2.cv1.conv", stage="p2", group=group, kept=tuple(range(kept))),),
        costs={},
        parent_score=parent_score,
        sensitivity={"model.2.cv1.conv": ((0.75, 0.45), (0.5, 0.4))},
    )


def test_kept_channels() -> None:
    """Each group has the parent's channels, what stays after the last step and its place."""
    first, last = make_plan(channels=64, kept=32), make_plan(channels=32, kept=24)

    (one,) = kept_channels([first, last])
    (alone,) = kept_channels([last])
    (narrowest,) = kept_channels([first, last.model_copy(update={"groups": ()})])

    assert (one.name, one.stage, one.kept, one.channels) == ("model.2.cv1.conv", "p2", 24, 64)
    assert (alone.kept, alone.channels) == (24, 32)
    assert (narrowest.kept, narrowest.channels) == (32, 64)  # no later plan could change it
    assert kept_channels([]) == ()


def test_sensitivity_is_relative_to_the_parent() -> None:
    """Curves begin with all channels and the whole score."""
    (curve,) = sensitivity_curves(make_plan())

    assert curve.kept_share == (1.0, 0.75, 0.5)
    assert curve.score_share == (1.0, 0.9, 0.8)


def test_nothing_measured_has_no_curves() -> None:
    """A plan without measurements has nothing to show."""
    assert sensitivity_curves(make_plan(parent_score=None)) == ()
