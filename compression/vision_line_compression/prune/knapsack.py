# SPDX-License-Identifier: AGPL-3.0-or-later
"""Choose one width for each unit: least expected accuracy loss within the limits of cost.

This is a multiple-choice knapsack whose cost is not a sum over the units, since a convolution costs (width read) ·
(width written). It is solved by a Lagrangian path: for a growing price of cost, each unit in turn takes the width
with the least accuracy loss + price · cost, given the others, until none moves. The first feasible point is refined by
bisection of the price, then widened step by step where that buys most. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from vision_line_compression.prune.cost import NetworkCost

#: Widths of all units.
Widths = tuple[int, ...]

#: Weights of the limits in the price.
Mix = tuple[float, ...]

_PRICE_START = 1e-3
_PRICE_GROWTH = 1.2
_PRICE_STEPS = 100
_MIX_PARTS = 4
_BISECTIONS = 12
_SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Limit:
    """One bounded cost; `reference` is the whole network's."""

    cost: NetworkCost
    reference: float
    allowed: float

    def excess(self, widths: Sequence[int]) -> float:
        """Return cost / allowed - 1: above zero when the limit is broken."""
        return self.cost.total(widths) / self.allowed - 1.0


@dataclass(frozen=True, slots=True)
class Knapsack:
    """The problem: `widths[u]` are the choices of unit u, ascending, `loss[u]` their accuracy loss, falling to 0."""

    widths: tuple[Widths, ...]
    loss: tuple[tuple[float, ...], ...]
    limits: tuple[Limit, ...]

    @property
    def widest(self) -> Widths:
        """Return the present widths."""
        return tuple(choices[-1] for choices in self.widths)

    @property
    def narrowest(self) -> Widths:
        """Return the least widths."""
        return tuple(choices[0] for choices in self.widths)

    def is_feasible(self, widths: Sequence[int]) -> bool:
        """Say whether `widths` break no limit."""
        return all(limit.excess(widths) <= 1e-12 for limit in self.limits)

    def total_loss(self, widths: Sequence[int]) -> float:
        """Return the sum of the units' losses."""
        return sum(
            loss[choices.index(width)] for choices, loss, width in zip(self.widths, self.loss, widths, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Solution:
    """Chosen widths, None when no choice is feasible, and the points of the path to them (or to the narrowest)."""

    widths: Widths | None
    path: tuple[Widths, ...]


def solve(problem: Knapsack) -> Solution:
    """Return widths of least accuracy loss within all limits; the path holds the points on the way, widest first.

    With several limits the price is a mix of their costs; a grid of mixes is tried and the best result kept.
    """
    if not problem.is_feasible(problem.narrowest):
        return Solution(None, _walk(problem, _mixes(len(problem.limits))[0]).path)
    solutions = [_walk(problem, mix) for mix in _mixes(len(problem.limits))]
    return min(solutions, key=lambda solution: problem.total_loss(solution.widths or problem.narrowest))


def _walk(problem: Knapsack, mix: Mix) -> Solution:
    """Raise the price until the limits are kept or all units are at their narrowest."""
    widths = problem.widest
    path = [widths]
    if problem.is_feasible(widths):
        return Solution(widths, (widths,))
    for low, price in pairwise((0.0, *_prices(problem))):
        before, widths = widths, _settled(problem, widths, price, mix)
        if problem.is_feasible(widths):
            widths = _widened(problem, _refined(problem, before, (low, price), widths, mix))
            return Solution(widths, (*path, widths))
        if widths != before:
            path.append(widths)
    is_feasible = problem.is_feasible(problem.narrowest)
    return Solution(_widened(problem, problem.narrowest) if is_feasible else None, (*path, problem.narrowest))


def _prices(problem: Knapsack) -> list[float]:
    scale = max((loss[0] for loss in problem.loss), default=0.0) or 1.0
    return [scale * _PRICE_START * _PRICE_GROWTH**step for step in range(_PRICE_STEPS)]


def _mixes(limits: int) -> tuple[Mix, ...]:
    """Return weights for the limits that sum to 1, the balanced mix first."""
    if limits == 1:
        return ((1.0,),)
    parts = product(range(_MIX_PARTS + 1), repeat=limits)
    grid = (tuple(part / _MIX_PARTS for part in mix) for mix in parts if sum(mix) == _MIX_PARTS)
    return ((1.0 / limits,) * limits, *grid)


def solve_along(problem: Knapsack, steps: int, at: Callable[[int], Widths]) -> Solution:
    """Return the first feasible point of a family of widths that shrink from step 0 to the last, by bisection.

    `at(step)` gives the widths; the family is the constraint (all relative widths equal, one threshold). One step can
    change many units: those that may stay as they were in the step before do, so that the limit is met closely.
    """
    shown = tuple(dict.fromkeys(at(round(index * (steps - 1) / 20)) for index in range(21)))
    low, high = 0, steps - 1
    if not problem.is_feasible(at(high)):
        return Solution(None, shown)
    while low < high:
        middle = (low + high) // 2
        if problem.is_feasible(at(middle)):
            high = middle
        else:
            low = middle + 1
    return Solution(_topped_up(problem, at(low), at(max(low - 1, 0))), shown)


def _topped_up(problem: Knapsack, start: Widths, before: Widths) -> Widths:
    widths = start
    for unit, wider in enumerate(before):
        trial = (*widths[:unit], wider, *widths[unit + 1 :])
        if problem.is_feasible(trial):
            widths = trial
    return widths


def _settled(problem: Knapsack, start: Widths, price: float, mix: Mix) -> Widths:
    """Let each unit in turn take its best width at `price` until none moves."""
    widths = list(start)
    for _ in range(_SWEEPS):
        before = list(widths)
        for unit in range(len(widths)):
            widths[unit] = _best(problem, unit, widths, price, mix)
        if widths == before:
            break
    return tuple(widths)


def _best(problem: Knapsack, unit: int, widths: Sequence[int], price: float, mix: Mix) -> int:
    """Return the unit's width of least accuracy loss + price · cost; ties go to the wider."""
    choices = problem.widths[unit]
    values = list(problem.loss[unit])
    for weight, limit in zip(mix, problem.limits, strict=True):
        if weight > 0.0:
            costs = limit.cost.around(unit, choices, widths)
            values = [
                value + price * weight * cost / limit.reference for value, cost in zip(values, costs, strict=True)
            ]
    return min(zip(values, (-choice for choice in choices), choices, strict=True))[2]


def _refined(problem: Knapsack, before: Widths, prices: tuple[float, float], feasible: Widths, mix: Mix) -> Widths:
    """Bisect the price between the last infeasible and the first feasible point; keep the least accuracy loss."""
    best, (low, high) = feasible, prices
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        widths = _settled(problem, before, middle, mix)
        if not problem.is_feasible(widths):
            low = middle
            continue
        high = middle
        best = min(best, widths, key=problem.total_loss)
    return best


def _widened(problem: Knapsack, start: Widths) -> Widths:
    """Give back channels while the limits allow, always the step that undoes most accuracy loss for its cost."""
    widths = list(start)
    while (step := _best_step(problem, widths)) is not None:
        widths[step[0]] = step[1]
    return tuple(widths)


def _best_step(problem: Knapsack, widths: list[int]) -> tuple[int, int] | None:
    best, best_gain = None, 0.0
    left = [limit.allowed * (1.0 + 1e-12) - limit.cost.total(widths) for limit in problem.limits]
    for unit, choices in enumerate(problem.widths):
        position = choices.index(widths[unit])
        loss = problem.loss[unit]
        for index, used in enumerate(_used(problem, widths, left, unit, choices[position:])):
            undone = loss[position] - loss[position + index]
            if used is not None and undone > best_gain * used:
                best, best_gain = (unit, choices[position + index]), undone / max(used, 1e-12)
    return best


def _used(problem: Knapsack, widths: list[int], left: list[float], unit: int, choices: Widths) -> list[float | None]:
    """Return for each choice, from the present one on, the share of the allowance that it takes; None: too much."""
    used: list[float | None] = [0.0] * len(choices)
    for limit, room in zip(problem.limits, left, strict=True):
        costs = limit.cost.around(unit, choices, widths)
        for index, cost in enumerate(costs):
            known = used[index]
            more = cost - costs[0]
            used[index] = None if known is None or more > room else max(known, more / limit.allowed)
    return used
