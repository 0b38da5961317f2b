# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every core is busy with something else for long: nobody may be taken for dead by that, and who dies is noticed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from benchmarks.chaos.trials import Chaos, Finding, Trial, kill_a_node, no_moves
from benchmarks.headline import busy_cores
from vision_line.fleet.fleet_link import NO_SIGN

#: How often is asked whether it goes on.
GLANCE_S = 10.0


class _Saying(Protocol):
    """A plant of which each box has said something."""

    nodes: list[str]

    def said(self, name: str) -> str:
        """Return what a box has said."""


def declared_dead(plant: _Saying) -> Counter[str]:
    """Return how often boxes said of each that it gives no sign of life any more."""
    lines = (line.strip() for name in plant.nodes for line in plant.said(name).splitlines())
    return Counter(line.removesuffix(NO_SIGN).split()[-1] for line in lines if line.endswith(NO_SIGN))


def saturated(minutes: float) -> Trial:
    """Return a trial in which there is a busy loop on every core for so long; then a box dies, which is noticed."""

    def busy(chaos: Chaos) -> Iterator[Finding]:
        plant = chaos.plant
        before = plant.until_inspected()
        dead_before, plan_before, since_utc = declared_dead(plant), plant.view().plan, time.time()
        trial = f"every core is busy for {minutes:g} minutes"
        with busy_cores():
            while (left_s := since_utc + 60 * minutes - time.time()) > 0:
                time.sleep(min(left_s, GLANCE_S))
                plant.check_alive()
            dead = declared_dead(plant) - dead_before
            words = ", ".join(f"{name} {count} times" for name, count in sorted(dead.items())) or "none"
            yield Finding(f"{trial}: no box is taken for dead", not dead, words)
            yield no_moves(trial, chaos.moved(since_utc))
            holds = plant.until_inspected() == before
            words = f"plan {plant.view().plan.epoch} after {plan_before.epoch}"
            yield Finding(f"{trial}: all cameras are where they were", holds, words)
            yield from kill_a_node(chaos)

    return busy
