# SPDX-License-Identifier: AGPL-3.0-or-later
"""A pruning plan as a file and as a chart: what was asked for, what was decided for each group, what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vision_line_compression.charts import BAR_HEIGHT, Bar, bar, bars, figure, label
from vision_line_compression.files import Document, FrozenModel, write_whole
from vision_line_compression.network.checkpoint import Complexity
from vision_line_compression.prune.groups import ChannelGroup
from vision_line_compression.prune.settings import CostKind, PruneSettings, Stage

#: The chart of a plan, pixels.
_WIDTH, _TOP = 560, 64

#: Colour-blind safe, light to dark along the network.
_COLOUR: dict[Stage, str] = {
    "p1": "#88ccee",
    "p2": "#44aa99",
    "p3": "#117733",
    "p4": "#ddaa33",
    "p5": "#cc6677",
    "head": "#332288",
}
_CSS = """
svg { font: 10px sans-serif } .paper { fill: #fff } text { fill: #222 } .heading { font-size: 13px }
.removed { fill: #dfdcd4 } """ + " ".join(f".{stage} {{ fill: {colour} }}" for stage, colour in _COLOUR.items())


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


def plan_bars(plan: PruningPlan) -> tuple[Bar, ...]:
    """Return one bar for each convolution that the plan may narrow, in the network's order."""
    found = [
        Bar(layer.removesuffix(".conv").removeprefix("model."), entry.group.channels, len(entry.kept), entry.stage)
        for entry in plan.groups
        for layer in entry.group.written
        if not layer.endswith(".bn")
    ]
    return tuple(sorted(found, key=lambda one: [int(part) if part.isdigit() else -1 for part in one.name.split(".")]))


def write_plot(plan: PruningPlan, path: Path) -> None:
    """Write the chart of `plan` to an .svg file."""
    rows, settings = plan_bars(plan), plan.settings
    costs = ", ".join(f"{kind} {cost.share:.1%}" for kind, cost in plan.costs.items())
    title = f"Kept channels ({settings.method}, neck {settings.neck}, multiples of {settings.quantum}): {costs}"
    legend = "".join(
        bar(8 + 62 * number, 34, 10, 10, stage) + label(22 + 62 * number, 43, stage, "tick")
        for number, stage in enumerate(_COLOUR)
    )
    height = _TOP + BAR_HEIGHT * len(rows) + 14
    content = (
        bar(0, 0, _WIDTH, height, "paper")
        + label(8, 20, title, "heading")
        + legend
        + bars(rows, max((one.whole for one in rows), default=1), 8, _TOP)
    )
    write_whole(path, figure(_WIDTH, height, content, "Kept channels of each convolution", _CSS).encode())
