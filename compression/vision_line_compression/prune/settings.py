# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a user may ask of pruning; plain data, read without loading torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from vision_line_compression.files import FrozenModel, GrowingModel

Criterion = Literal["bn", "l2", "taylor"]
Neck = Literal["whole", "outputs", "free"]

#: Where a group lives: the finest grid that one of its layers writes (P1 = half of the input's side), or the head.
Stage = Literal["p1", "p2", "p3", "p4", "p5", "head"]
Method = Literal["sensitivity", "uniform", "global"]
CostKind = Literal["params", "macs", "latency"]
Share = Annotated[float, Field(gt=0.0, le=1.0)]


class Budget(GrowingModel):
    """What the pruned model may cost at most; shares are of the reference (the parent). One or several."""

    later: ClassVar[frozenset[str]] = frozenset({"latency_ms", "speedup"})

    params: Share | None = None
    """Share of the parameters."""
    macs: Share | None = None
    """Share of the multiply-accumulates at `size_hw`."""
    latency: Share | None = None
    """Share of the time in INT8 at `size_hw` on the target, by its latency table."""
    latency_ms: float | None = Field(default=None, gt=0.0)
    """Milliseconds of one image in INT8 at `size_hw` on the target, the network alone, by its latency table."""
    speedup: float | None = Field(default=None, ge=1.0)
    """How often as fast in INT8 as the parent in float, on the target, by its latency table."""

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if not self.wanted:
            raise ValueError("expected at least one of params, macs, latency, latency_ms, speedup")
        return self

    @property
    def wanted(self) -> dict[str, float]:
        """Return the limits that are set, by their key."""
        limits = ((key, getattr(self, key)) for key in type(self).model_fields)
        return {key: limit for key, limit in limits if limit is not None}

    @property
    def needs_latency(self) -> bool:
        """Return whether a limit is about time on the target."""
        return bool(self.wanted.keys() & {"latency", "latency_ms", "speedup"})

    @property
    def shares(self) -> dict[CostKind, float]:
        """Return the shares that are set."""
        kinds: dict[CostKind, float | None] = {"params": self.params, "macs": self.macs, "latency": self.latency}
        return {kind: share for kind, share in kinds.items() if share is not None}


class StageCaps(FrozenModel):
    """The greatest share of channels that a group of each stage may lose: shallow layers keep more."""

    p1: float = Field(0.5, ge=0.0, lt=1.0)
    p2: float = Field(0.5, ge=0.0, lt=1.0)
    p3: float = Field(0.6, ge=0.0, lt=1.0)
    p4: float = Field(0.75, ge=0.0, lt=1.0)
    p5: float = Field(0.85, ge=0.0, lt=1.0)
    head: float = Field(0.75, ge=0.0, lt=1.0)

    def by_stage(self) -> dict[Stage, float]:
        """Return the caps as a table."""
        return {"p1": self.p1, "p2": self.p2, "p3": self.p3, "p4": self.p4, "p5": self.p5, "head": self.head}


class PruneSettings(FrozenModel):
    """How to plan."""

    budget: Budget
    """Most that the model may cost, one or several of `params`, `macs`, `latency`, `latency_ms`, `speedup`."""
    method: Method = "sensitivity"
    """`sensitivity` measures the importance of each group; `uniform` (one relative width) and `global` are controls."""
    importance: Criterion = "l2"
    """Importance of a channel: `l2` (group norm), `bn` (batch norm scale, after `[sparsify]`), `taylor` (gradients)."""
    quantum: Literal[8, 16, 32] = 8
    """Widths are multiples of 8, 16 or 32; INT8 wants 16."""
    neck: Neck = "outputs"
    """`whole` leaves the neck alone, `outputs` keeps the widths that it hands on, `free` keeps nothing."""
    head: bool = True
    """The head's inner convolutions may be pruned too."""
    caps: StageCaps = StageCaps()
    """Greatest share of channels that a group of a stage may lose: shallow ones keep more. The controls have none."""
    size_hw: tuple[int, int] = (640, 640)
    """Input shape for operations and latency."""
    probes: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = (0.25, 0.5, 0.75)
    """Shares of a group's channels that are silenced to measure it."""
    floor: float = Field(0.2, ge=0.0)
    """Weight of importance lost beside score lost: it decides between groups whose loss is below the noise."""
    trace_timeout_s: float = Field(120.0, gt=0.0)
    """Most time of a processor, in seconds, that looking through the network's structure may take."""
    trace_memory_gib: float = Field(4.0, gt=0.0)
    """Most memory that it may take."""

    def cap(self, stage: Stage) -> float:
        """Return the greatest share of channels that a group of a stage may lose; the controls have no caps."""
        return self.caps.by_stage()[stage] if self.method == "sensitivity" else 1.0

    @model_validator(mode="after")
    def _fits_the_strides(self) -> Self:
        if any(side <= 0 or side % 32 for side in self.size_hw):
            raise ValueError(f"size_hw: found {self.size_hw}, expected positive multiples of 32")
        return self
