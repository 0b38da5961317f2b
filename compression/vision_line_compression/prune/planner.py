# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a checkpoint and a budget to a plan: trace, rate, measure, choose."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from vision_line.errors import ConfigError
from vision_line.ports import ProgressCallback
from vision_line_compression.network.checkpoint import Checkpoint
from vision_line_compression.network.split_blocks import split_blocks
from vision_line_compression.prune.channels import Differentiate, kept_channels, rate_channels
from vision_line_compression.prune.cost import NetworkCost, mac_price, parameter_price
from vision_line_compression.prune.groups import ChannelUnit, make_units
from vision_line_compression.prune.knapsack import Knapsack, Limit, Solution, Widths, solve, solve_along
from vision_line_compression.prune.latency import LatencyTable
from vision_line_compression.prune.plan import FrontierPoint, PlannedCost, PlannedGroup, PruningPlan
from vision_line_compression.prune.sensitivity import (
    Curve,
    Score,
    measure_sensitivity,
    measured_loss,
    rated_loss,
    summed_loss,
)
from vision_line_compression.prune.settings import CostKind, PruneSettings
from vision_line_compression.prune.structure import (
    Convolution,
    attention_macs,
    fixed_parameters,
    read_structure,
    survey_convolutions,
)
from vision_line_compression.prune.tracing import known_groups

#: Steps of relative width that a uniform plan may take.
_UNIFORM_STEPS = 401


@dataclass(frozen=True, slots=True)
class _Network:
    """The split model and what is known about it."""

    model: nn.Module
    convolutions: tuple[Convolution, ...]
    units: tuple[ChannelUnit, ...]
    ratings: Mapping[str, NDArray[np.float64]]
    costs: dict[CostKind, NetworkCost]
    reference: dict[CostKind, float]  # what the budget's shares are shares of


def plan_pruning(
    checkpoint: Checkpoint,
    settings: PruneSettings,
    score: Score | None = None,
    *,
    differentiate: Differentiate | None = None,
    latency: LatencyTable | None = None,
    reference: Mapping[CostKind, float] | None = None,
    progress: ProgressCallback | None = None,
) -> PruningPlan:
    """Decide what to remove from `checkpoint`, which is not changed.

    `score` measures sensitivity (higher is better); it gets a working copy whose blocks are split, in evaluation mode,
    and must leave it as it was. Without it importance alone decides. `differentiate` leaves one example's
    gradients of the training loss after another in that copy (criterion "taylor"). `latency` is the target's table
    (budget of latency). `reference` gives the costs that the budget's shares refer to where they are not this
    checkpoint's own, as in progressive pruning. `progress` is told how much of the sensitivity was measured.

    Raises:
        ConfigError: Something that the settings need was not given, or the budget cannot be reached: the message
            holds the frontier.
        ModelError: The network cannot be traced.
    """
    _ensure_given(settings, differentiate, latency)
    network = _examined(checkpoint, settings, differentiate, latency, reference or {})
    limits = _limits(network, settings, latency)
    curves, parent_score = _measured(network, settings, score, progress)
    losses = _accuracy_losses(network, settings, curves, parent_score)
    problem = Knapsack(tuple(unit.widths for unit in network.units), losses, tuple(limits.values()))
    solution = _solved(problem, network, settings)
    frontier = _frontier(problem, network, solution)
    if solution.widths is None:
        raise ConfigError(*_infeasible(settings, frontier, network.reference))
    return PruningPlan(
        parent_sha256=checkpoint.sha256,
        family=checkpoint.family,
        settings=settings,
        groups=_planned_groups(network, solution.widths),
        costs=_planned_costs(network, solution.widths, limits),
        frontier=frontier,
        parent_score=parent_score,
        sensitivity=curves,
    )


def _ensure_given(settings: PruneSettings, differentiate: Differentiate | None, latency: LatencyTable | None) -> None:
    problems = []
    if settings.importance == "taylor" and differentiate is None:
        problems.append("importance: found 'taylor' without training data to differentiate on")
    if settings.budget.needs_latency and latency is None:
        problems.append("budget: found a limit of time without a measured latency table")
    if latency is not None and latency.size_hw != settings.size_hw:
        problems.append(f"size_hw: found {settings.size_hw}, the latency table was measured at {latency.size_hw}")
    if problems:
        raise ConfigError(*problems)


def _examined(
    checkpoint: Checkpoint,
    settings: PruneSettings,
    differentiate: Differentiate | None,
    latency: LatencyTable | None,
    reference: Mapping[CostKind, float],
) -> _Network:
    model = copy.deepcopy(checkpoint.model).eval()
    split_blocks(model)
    groups = known_groups(model, timeout_s=settings.trace_timeout_s, memory_gib=settings.trace_memory_gib)
    convolutions = survey_convolutions(model)
    units = make_units(groups, read_structure(model, convolutions), settings)
    rated = [group for unit in units for group in unit.groups]
    ratings = rate_channels(model, rated, settings.importance, differentiate)
    prices = {"params": parameter_price, "macs": mac_price(settings.size_hw)}
    costs: dict[CostKind, NetworkCost] = {
        "params": NetworkCost(convolutions, units, prices["params"], fixed=fixed_parameters(model)),
        "macs": NetworkCost(
            convolutions, units, prices["macs"], fixed=attention_macs(model, convolutions, settings.size_hw)
        ),
    }
    if latency is not None:
        costs["latency"] = NetworkCost(convolutions, units, latency.price())
    widest = [unit.channels for unit in units]
    own: dict[CostKind, float] = {kind: cost.total(widest) for kind, cost in costs.items()}
    return _Network(model.eval(), convolutions, units, ratings, costs, own | dict(reference))


def _limits(network: _Network, settings: PruneSettings, latency: LatencyTable | None) -> dict[CostKind, Limit]:
    bases, budget = network.reference, settings.budget
    allowed: dict[CostKind, list[float]] = {"params": [], "macs": [], "latency": []}
    for kind, share in budget.shares.items():
        allowed[kind].append(share * bases[kind])
    if budget.latency_ms is not None:
        allowed["latency"].append(budget.latency_ms)
    if budget.speedup is not None and latency is not None:
        allowed["latency"].append(latency.float_ms() / budget.speedup)
    return {kind: Limit(network.costs[kind], bases[kind], min(most)) for kind, most in allowed.items() if most}


def _measured(
    network: _Network, settings: PruneSettings, score: Score | None, progress: ProgressCallback | None
) -> tuple[dict[str, Curve], float | None]:
    if score is None or settings.method != "sensitivity":
        return {}, None
    parent_score = score(network.model)
    if not parent_score > 0.0:
        raise ConfigError(f"sensitivity: the parent scores {parent_score:g}, expected a score above zero")
    curves = measure_sensitivity(network.model, network.units, network.ratings, score, settings.probes, progress)
    return curves, parent_score


def _accuracy_losses(
    network: _Network, settings: PruneSettings, curves: Mapping[str, Curve], parent_score: float | None
) -> tuple[tuple[float, ...], ...]:
    """Add a little of the importance lost to the measured loss: it decides where nothing could be measured."""
    if settings.importance == "taylor":
        rated = summed_loss(network.units, network.ratings)
    else:
        rated = [rated_loss(unit, network.ratings) for unit in network.units]
    if parent_score is None:
        return tuple(rated)
    measured = [measured_loss(unit, curves[unit.name], parent_score) for unit in network.units]
    return tuple(
        tuple(loss + settings.floor * rated_loss for loss, rated_loss in zip(losses, rated_losses, strict=True))
        for losses, rated_losses in zip(measured, rated, strict=True)
    )


def _solved(problem: Knapsack, network: _Network, settings: PruneSettings) -> Solution:
    if settings.method == "sensitivity":
        return solve(problem)
    if settings.method == "uniform":
        return solve_along(problem, _UNIFORM_STEPS, lambda step: _uniform_widths(network.units, step))
    thresholds = np.unique(np.concatenate([network.ratings[g.name] for u in network.units for g in u.groups]))
    return solve_along(problem, len(thresholds), lambda step: _global_widths(network, float(thresholds[step])))


def _uniform_widths(units: Sequence[ChannelUnit], step: int) -> Widths:
    """Return the width nearest to one relative width for all units; ties go to the wider."""
    share = 1.0 - step / (_UNIFORM_STEPS - 1)
    return tuple(min(unit.widths, key=lambda width: (abs(width - share * unit.channels), -width)) for unit in units)


def _global_widths(network: _Network, threshold: float) -> Widths:
    """Return the widths that hold all channels rated at least `threshold`, rounded up to the channel multiple."""
    chosen = []
    for unit in network.units:
        kept = max(int((network.ratings[group.name] >= threshold).sum()) for group in unit.groups)
        chosen.append(next(width for width in unit.widths if width >= kept))
    return tuple(chosen)


def _frontier(problem: Knapsack, network: _Network, solution: Solution) -> tuple[FrontierPoint, ...]:
    path = solution.path
    shown = [path[round(index * (len(path) - 1) / 15)] for index in range(16)] if len(path) > 16 else list(path)
    if solution.widths is not None:
        shown.append(solution.widths)
    points = []
    for widths in dict.fromkeys(shown):
        shares = {kind: cost.total(widths) / network.reference[kind] for kind, cost in network.costs.items()}
        points.append(FrontierPoint(shares=shares, damage=problem.total_loss(widths)))
    return tuple(points)


def _infeasible(
    settings: PruneSettings, frontier: Sequence[FrontierPoint], reference: Mapping[CostKind, float]
) -> list[str]:
    wanted = ", ".join(_limit_text(key, limit) for key, limit in settings.budget.wanted.items())
    constraints = f"neck={settings.neck}, head={settings.head}, quantum={settings.quantum}, method={settings.method}"
    lines = [f"budget: found {wanted}, which cannot be reached with {constraints} and the stage caps; reachable:"]
    for point in frontier:
        shares = [f"{kind} {share:.1%}" for kind, share in point.shares.items()]
        if "latency" in point.shares:
            shares.append(f"{point.shares['latency'] * reference['latency']:.3g} ms")
        lines.append("  " + ", ".join(shares))
    return lines


def _limit_text(key: str, limit: float) -> str:
    """Return a limit of the budget in words."""
    return {"latency_ms": f"{limit:g} ms", "speedup": f"{limit:g} times the float parent's speed"}.get(
        key, f"{key} {limit:.1%}"
    )


def _planned_groups(network: _Network, widths: Widths) -> tuple[PlannedGroup, ...]:
    return tuple(
        PlannedGroup(
            unit=unit.name, stage=unit.stage, group=group, kept=kept_channels(network.ratings[group.name], width)
        )
        for unit, width in zip(network.units, widths, strict=True)
        for group in unit.groups
    )


def _planned_costs(network: _Network, widths: Widths, limits: Mapping[CostKind, Limit]) -> dict[CostKind, PlannedCost]:
    return {
        kind: PlannedCost(
            reference=network.reference[kind],
            planned=cost.total(widths),
            allowed=limits[kind].allowed if kind in limits else None,
        )
        for kind, cost in network.costs.items()
    }
