# SPDX-License-Identifier: AGPL-3.0-or-later
"""What cameras need and what nodes can do, as the planner counts it: whole numbers, whose sums have no order. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

#: Up to this share of its capacity a node takes cameras that it does not have, in per cent.
FULL_PERCENT = 90


class Workload(NamedTuple):
    """What a camera needs each second, or what a node can do."""

    inspections_mhz: int  # inspections in 1000 s
    pixels_s: int  # decoded

    def plus(self, other: Workload) -> Workload:
        """Return both together."""
        return Workload(self.inspections_mhz + other.inspections_mhz, self.pixels_s + other.pixels_s)

    def minus(self, other: Workload) -> Workload:
        """Return what is left without `other`."""
        return Workload(self.inspections_mhz - other.inspections_mhz, self.pixels_s - other.pixels_s)

    def fits(self, capacity: Workload, percent: int = 100) -> bool:
        """Return whether it is at most that share of `capacity`."""
        return (
            self.inspections_mhz * 100 <= capacity.inspections_mhz * percent
            and self.pixels_s * 100 <= capacity.pixels_s * percent
        )

    def share_of(self, capacity: Workload) -> float:
        """Return the share of `capacity` of what is scarcer; infinite where there is none."""
        pairs = zip(self, capacity, strict=True)
        return max(need / has if has else (float("inf") if need else 0.0) for need, has in pairs)


NOTHING = Workload(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetCamera:
    """A camera as the planner sees it; of its URL and its settings it knows nothing."""

    name: str
    wanted: Workload
    least: Workload  # with as few inspections as its parts allow
    priority: int = 0  # the lower ones are given up first
    sessions: int = 2  # how many clients the camera serves at once
    reachable_from: frozenset[str] = frozenset()  # labels, one of which a node must have; empty: every node
    pin: str = ""  # the only node that may inspect it


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetNode:
    """A living node as the planner sees it."""

    name: str
    capacity: Workload
    labels: frozenset[str] = frozenset()
    refuses: Mapping[str, str] = field(default_factory=dict)  # cameras that it cannot inspect, and why
    is_draining: bool = False
    is_full: bool = False  # it inspects what it has too rarely already, whatever its capacity says

    def takes(self, camera: FleetCamera, now_at: str | None) -> bool:
        """Return whether it may be given a camera that is `now_at` a node; its room is not asked.

        One that is full keeps what it has, and takes only what can be nowhere else.
        """
        if self.is_draining or self.obstacle(camera):
            return False
        return not self.is_full or now_at == self.name or bool(camera.pin)

    def obstacle(self, camera: FleetCamera) -> str:
        """Return why it may not inspect the camera, whatever room it has; "" where it may."""
        if camera.pin and camera.pin != self.name:
            return f"pinned to {camera.pin}"
        if camera.reachable_from and not camera.reachable_from & (self.labels | {self.name}):
            return f"not reachable: none of the labels {', '.join(sorted(camera.reachable_from))}"
        return self.refuses.get(camera.name, "")
