# SPDX-License-Identifier: AGPL-3.0-or-later
"""A pruning plan as a file: what was asked for, what was decided for each group, and what it costs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vision_line_compression.files import Document, FrozenModel
from vision_line_compression.network.checkpoint import Complexity
from vision_line_compression.prune.groups import ChannelGroup
from vision_line_compression.prune.settings import CostKind, PruneSettings, Stage


class PlannedGroup(FrozenModel):
    """One group: `kept` are the channels that stay, ascending; `unit` is shared by groups of equal width."""

    unit: str
    stage: Stage
    group: ChannelGroup
    kept: tuple[int, ...]

    @property
    def removed(self) -> NDArray[np.bool_]:
        """Mark the channels that go, (channels,)."""
        mask = np.ones(self.group.channels, dtype=np.bool_)
        mask[list(self.kept)] = False
        return mask


class PlannedCost(FrozenModel):
    """One kind of cost before and after, in parameters, MACs or milliseconds, and the most that was allowed."""

    reference: float
    planned: float
    allowed: float | None = None

    @property
    def share(self) -> float:
        """Return planned / reference."""
        return self.planned / self.reference


class FrontierPoint(FrozenModel):
    """One reachable choice: its costs as shares of the reference and its expected accuracy loss."""

    shares: dict[CostKind, float]
    damage: float


class PruningPlan(Document):
    """A complete decision, to be reviewed and replayed on the checkpoint with `parent_sha256`.

    `sensitivity` maps each unit to measured pairs (share of channels kept, score); it is empty where nothing was
    measured. `parent_score` is the score with all channels.
    """

    format: Literal[1] = 1
    parent_sha256: str
    family: Literal["v8", "v10", "11", "26"]
    settings: PruneSettings
    groups: tuple[PlannedGroup, ...]
    costs: dict[CostKind, PlannedCost]
    frontier: tuple[FrontierPoint, ...] = ()
    parent_score: float | None = None
    sensitivity: dict[str, tuple[tuple[float, float], ...]] = Field(default_factory=dict)

    @property
    def complexity(self) -> Complexity:
        """Return the size that the pruned model must have."""
        return Complexity(round(self.costs["params"].planned), round(self.costs["macs"].planned))
