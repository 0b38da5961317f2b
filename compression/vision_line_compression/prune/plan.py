# SPDX-License-Identifier: AGPL-3.0-or-later
"""A pruning plan as a file: what was asked for, what was decided for each group, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from vision_line.errors import ConfigError
from vision_line_compression.network.checkpoint import Complexity
from vision_line_compression.prune.groups import ChannelGroup
from vision_line_compression.prune.settings import CostKind, PruneSettings, Stage

_STRICT = ConfigDict(frozen=True, extra="forbid")


class PlannedGroup(BaseModel):
    """One group: `kept` are the channels that stay, ascending; `unit` is shared by groups of equal width."""

    model_config = _STRICT

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


class PlannedCost(BaseModel):
    """One kind of cost before and after, in parameters, MACs or milliseconds, and the most that was allowed."""

    model_config = _STRICT

    reference: float
    planned: float
    allowed: float | None = None

    @property
    def share(self) -> float:
        """Return planned / reference."""
        return self.planned / self.reference


class FrontierPoint(BaseModel):
    """One reachable choice: its costs as shares of the reference and its expected accuracy loss."""

    model_config = _STRICT

    shares: dict[CostKind, float]
    damage: float


class PruningPlan(BaseModel):
    """A complete decision, to be reviewed and replayed on the checkpoint with `parent_sha256`.

    `sensitivity` maps each unit to measured pairs (share of channels kept, score); it is empty where nothing was
    measured. `parent_score` is the score with all channels.
    """

    model_config = _STRICT

    format: Literal[1] = 1
    parent_sha256: str
    family: Literal["v8", "v10", "11", "26"]
    settings: PruneSettings
    groups: tuple[PlannedGroup, ...]
    costs: dict[CostKind, PlannedCost]
    frontier: tuple[FrontierPoint, ...] = ()
    parent_score: float | None = None
    sensitivity: dict[str, tuple[tuple[float, float], ...]] = {}

    @property
    def complexity(self) -> Complexity:
        """Return the size that the pruned model must have."""
        return Complexity(round(self.costs["params"].planned), round(self.costs["macs"].planned))


def write_plan(plan: PruningPlan, path: Path) -> None:
    """Write `plan` as JSON; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(plan.model_dump_json(indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def read_plan(path: Path) -> PruningPlan:
    """Read a plan; ConfigError names every fault."""
    try:
        return PruningPlan.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}, expected a pruning plan") from exc
    except ValidationError as exc:
        faults = (f"{path}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in exc.errors())
        raise ConfigError(*faults) from exc
