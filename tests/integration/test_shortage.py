# SPDX-License-Identifier: AGPL-3.0-or-later
"""Too few cores for decoding and inspecting: most parts that could get their inspections do, and the rest is reported.

In virtual time, with the product's own code deciding; `benchmarks.shortage_line` says what is played.
"""

from __future__ import annotations

from functools import cache

import pytest
from benchmarks.shortage import LINES, of_load
from benchmarks.shortage_line import SharedLine, Shown, has_enough, parts_between, play, share_with_enough

SECONDS = 300.0
SETTLED_S = 30.0
DECODING, INSPECTING = LINES


@cache
def played(name: str, load: float) -> tuple[SharedLine, dict[str, Shown]]:
    """Return the line at this load and what became of it."""
    line = of_load(LINES[name], load)
    return line, play(line, SECONDS)


def shares(name: str, load: float) -> list[float]:
    line, shown = played(name, load)
    return [share_with_enough(one, line, SETTLED_S, SECONDS - 1.0) for one in shown.values()]


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("load", [0.5, 1.0])
def test_up_to_the_capacity_every_part_gets_its_inspections(name: str, load: float) -> None:
    """At half of it, and where the cores are just used up."""
    assert min(shares(name, load)) >= (1.0 if load < 1.0 else 0.99)


@pytest.mark.parametrize(("name", "least"), [(DECODING, 0.93), (INSPECTING, 0.65)])
def test_at_twice_the_capacity_most_of_what_is_possible_is_inspected(name: str, least: float) -> None:
    """Of the largest share of parts that any schedule could give their inspections; and no camera rests for ever."""
    line, _ = played(name, 2.0)
    enough = shares(name, 2.0)
    assert sum(enough) / len(enough) >= least * line.best_share
    assert min(enough) > 0.3


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("load", [1.0, 2.0])
def test_every_part_without_its_inspections_is_reported_with_the_cause(name: str, load: float) -> None:
    """Its whole stay lies in intervals that were not inspected, for lack of capacity and not of the camera's doing."""
    line, shown = played(name, load)
    for one in shown.values():
        intervals = [interval for interval in one.intervals.values() if not interval.withdrawn]
        assert {i.cause for i in intervals if i.started_s > SETTLED_S} <= {"capacity", "capacity:decoding"}
        spans = [(i.started_s, SECONDS if i.ended_s is None else i.ended_s) for i in intervals]
        for entry_s in parts_between(SETTLED_S, SECONDS - 1.0, line.dwell_s):
            if not has_enough(one, line, entry_s):
                moments = [entry_s + line.dwell_s * n / 8 for n in range(9)]
                assert all(any(begun <= at <= over for begun, over in spans) for at in moments), entry_s


def test_who_rests_costs_no_decoding_and_is_not_called_a_fault() -> None:
    """Nobody is opened again, nothing counts as damaged, and cameras together are decoded for what is inspected."""
    _, shown = played(INSPECTING, 2.0)
    decoded, inspected = sum(s.decoded for s in shown.values()), sum(len(s.inspected_s) for s in shown.values())
    assert decoded < 4 * inspected
    assert all(one.reconnects == 0 and "corrupt" not in one.dropped for one in shown.values())
