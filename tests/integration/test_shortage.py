# SPDX-License-Identifier: AGPL-3.0-or-later
"""Too few cores for decoding and inspecting: what parts still get their inspections, and that all others are reported.

In virtual time, with the product's own code deciding; `benchmarks.shortage_line` says what is played.
"""

from __future__ import annotations

from functools import cache

import pytest
from benchmarks.shortage import LINES, of_load
from benchmarks.shortage_line import SharedLine, Shown, has_enough, parts_between, play, share_with_enough

#: How long is played, by load. Up to the capacity nothing changes once it has settled; beyond it cameras rest in turns.
SECONDS = {0.5: 80.0, 1.0: 80.0, 2.0: 200.0}
SETTLED_S = 30.0
DECODING, INSPECTING = LINES


@cache
def played(name: str, load: float) -> tuple[SharedLine, dict[str, Shown]]:
    """Return the line at this load and what became of it."""
    line = of_load(LINES[name], load)
    return line, play(line, SECONDS[load])


def shares(name: str, load: float) -> list[float]:
    line, shown = played(name, load)
    return [share_with_enough(one, line, SETTLED_S, SECONDS[load] - 1.0) for one in shown.values()]


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("load", [0.5, 1.0])
def test_up_to_the_capacity_every_part_gets_its_inspections(name: str, load: float) -> None:
    """At half of it, and where the cores are just used up."""
    assert min(shares(name, load)) >= (1.0 if load < 1.0 else 0.99)


@pytest.mark.parametrize(("name", "least"), [(DECODING, 0.35), (INSPECTING, 0.15)])
def test_at_twice_the_capacity_some_of_what_is_possible_is_inspected(name: str, least: float) -> None:
    """Of the largest share of parts that any schedule could give their inspections."""
    line, _ = played(name, 2.0)
    enough = shares(name, 2.0)
    assert sum(enough) / len(enough) >= least * line.best_share


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("load", [1.0, 2.0])
def test_every_part_without_its_inspections_is_reported_with_the_cause(name: str, load: float) -> None:
    """Its whole stay lies in intervals that were not inspected, for lack of capacity and not of the camera's doing."""
    line, shown = played(name, load)
    seconds = SECONDS[load]
    for one in shown.values():
        intervals = [interval for interval in one.intervals.values() if not interval.withdrawn]
        assert {i.cause for i in intervals if i.started_s > SETTLED_S} <= {"capacity", "capacity:decoding"}
        spans = [(i.started_s, seconds if i.ended_s is None else i.ended_s) for i in intervals]
        for entry_s in parts_between(SETTLED_S, seconds - 1.0, line.dwell_s):
            if not has_enough(one, line, entry_s):
                moments = [entry_s + line.dwell_s * n / 8 for n in range(9)]
                assert all(any(begun <= at <= over for begun, over in spans) for at in moments), entry_s


@pytest.mark.parametrize("name", LINES)
def test_what_is_short_is_not_called_a_fault(name: str) -> None:
    """Nobody is opened again, and nothing counts as damaged."""
    _, shown = played(name, 2.0)
    assert all(one.reconnects == 0 and "corrupt" not in one.dropped for one in shown.values())
