# SPDX-License-Identifier: AGPL-3.0-or-later
"""The knapsack against every possible choice on small networks."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line_compression.prune.cost import NetworkCost, mac_price, parameter_price
from vision_line_compression.prune.groups import ChannelGroup, ChannelUnit, Member
from vision_line_compression.prune.knapsack import Knapsack, Limit, solve, solve_along
from vision_line_compression.prune.structure import Convolution

UNITS = 4
CHANNELS = 32
WIDTHS = (8, 16, 24, 32)


def chain() -> tuple[list[Convolution], list[ChannelUnit]]:
    """Return a chain of convolutions c0 .. c4; unit i is written by ci and read by the next."""
    layers = [
        Convolution(f"model.{i}.conv", (3, 3), 2, False, i + 1, (3 if i == 0 else CHANNELS, CHANNELS))
        for i in range(UNITS + 1)
    ]
    units = []
    for i in range(UNITS):
        members = (
            Member(layer=f"model.{i}.conv", side="out", runs=((0, 0, CHANNELS),)),
            Member(layer=f"model.{i + 1}.conv", side="in", runs=((0, 0, CHANNELS),)),
        )
        units.append(
            ChannelUnit((ChannelGroup(name=f"model.{i}.conv", channels=CHANNELS, members=members),), "p3", WIDTHS)
        )
    return layers, units


def costs() -> tuple[NetworkCost, NetworkCost]:
    """Return parameters and MACs of the chain."""
    layers, units = chain()
    return NetworkCost(layers, units, parameter_price), NetworkCost(layers, units, mac_price((64, 64)))


def problem(steps: list[list[float]], params: float | None, macs: float | None) -> Knapsack:
    """Return the chain's knapsack with convex damage whose steps are given for each unit, narrowing."""
    loss = []
    for unit in steps:
        rising = sorted(unit)
        loss.append((rising[0] + rising[1] + rising[2], rising[0] + rising[1], rising[0], 0.0))
    full = (CHANNELS,) * UNITS
    limits = [
        Limit(cost, cost.total(full), share * cost.total(full))
        for cost, share in zip(costs(), (params, macs), strict=True)
        if share is not None
    ]
    return Knapsack((WIDTHS,) * UNITS, tuple(loss), tuple(limits))


def best_damage(knapsack: Knapsack) -> float | None:
    """Return the least damage over all choices."""
    feasible = [w for w in product(*knapsack.widths) if knapsack.is_feasible(w)]
    return min((knapsack.total_loss(w) for w in feasible), default=None)


def test_the_cost_of_a_chain_is_counted_by_hand() -> None:
    """Parameters are weights and biases, MACs weights times pixels; what a unit changes is around it."""
    params, macs = costs()
    narrow = (8, 32, 32, 32)

    assert params.total((32,) * 4) == 9 * 3 * 32 + 32 + 4 * (9 * 32 * 32 + 32)
    assert params.total(narrow) == 9 * 3 * 8 + 8 + 9 * 8 * 32 + 32 + 3 * (9 * 32 * 32 + 32)
    assert macs.total((32,) * 4) == 9 * 32 * (3 * 32**2 + 32 * (16**2 + 8**2 + 4**2 + 2**2))
    changed = params.total((32,) * 4) - params.total(narrow)
    wide, slim = params.around(0, (32, 8), (16, 32, 32, 32))
    assert wide - slim == changed


step_lists = st.lists(st.lists(st.floats(0.001, 1.0), min_size=3, max_size=3), min_size=UNITS, max_size=UNITS)


@settings(max_examples=60, deadline=None)
@given(step_lists, st.none() | st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_choices_are_feasible_and_near_the_best(steps: list[list[float]], params: float | None, macs: float) -> None:
    """Limits are kept whenever they can be; damage exceeds the best by two steps at most; the path starts whole."""
    knapsack = problem(steps, params, macs)
    solution = solve(knapsack)
    best = best_damage(knapsack)

    assert solution.path[0] == knapsack.widest
    if best is None:
        assert solution.widths is None
        assert solution.path[-1] == knapsack.narrowest
    else:
        assert solution.widths is not None
        assert knapsack.is_feasible(solution.widths)
        assert knapsack.total_loss(solution.widths) <= best + 2 * max(max(unit) for unit in steps) + 1e-9


def test_what_costs_and_matters_little_goes_first() -> None:
    """Of two alike layers the one that may be missed is narrowed, the other kept."""
    precious, spare = [0.5, 0.6, 0.7], [0.001, 0.002, 0.003]
    widths = solve(problem([precious, precious, spare, precious], 0.85, None)).widths

    assert widths is not None
    assert widths[2] < CHANNELS
    assert widths[0] == widths[1] == widths[3] == CHANNELS


def test_solving_twice_is_the_same() -> None:
    """Nothing is random."""
    knapsack = problem([[0.1, 0.2, 0.3]] * UNITS, 0.5, 0.4)

    assert solve(knapsack) == solve(knapsack)


def test_a_family_of_widths_stops_at_the_first_that_fits() -> None:
    """A uniform family is followed only as far as needed, and no unit goes further than one step."""
    knapsack = problem([[0.1, 0.2, 0.3]] * UNITS, 0.6, None)
    solution = solve_along(knapsack, 4, lambda step: (WIDTHS[3 - step],) * UNITS)

    assert solution.widths is not None
    assert knapsack.is_feasible(solution.widths)
    assert set(solution.widths) <= {16, 24, 32}
    assert max(solution.widths) - min(solution.widths) <= 8
    assert solve_along(problem([[0.1] * 3] * UNITS, 0.01, None), 4, lambda s: (WIDTHS[3 - s],) * UNITS).widths is None
