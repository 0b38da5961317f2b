# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a node says of itself with every heartbeat. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vision_line.fleet.fleet_plan import CameraName, Epoch, NodeName, Stored
from vision_line.fleet.workload import FleetNode, Workload


class CameraReport(Stored):
    """One camera that a node has open."""

    epoch: Epoch
    """Under which assignment."""
    inspected: bool = False
    """Whether it is inspected now, as often as its parts need."""
    pixels_s: Annotated[int, Field(ge=0)] = 0
    """How many pixels of it are decoded a second; 0: not known yet."""


class NodeReport(Stored):
    """The value of `node.<name>`."""

    version: str = ""
    """Of the program."""
    life: str = ""
    """Names this process: two of one node's name notice each other."""
    address: str = ""
    """Where people find its desk and its metrics."""
    labels: frozenset[str] = frozenset()
    inspections_mhz: Annotated[int, Field(ge=0)] = 0
    """Capacity: inspections in 1000 s."""
    pixels_s: Annotated[int, Field(ge=0)] = 0
    """Capacity: decoded pixels a second."""
    full: bool = False
    """Whether it inspects what it has too rarely already."""
    draining: bool = False
    """Whether it is to have no cameras soon."""
    doubled: bool = False
    """Whether another process calls itself by its name."""
    leaving: bool = False
    """Whether this is its last word."""
    refuses: frozenset[CameraName] = frozenset()
    """Cameras for which it has no secret."""
    lacks: dict[CameraName, str] = Field(default_factory=dict)
    """By camera that it refuses: which secrets, as `{NAME}`s."""
    plan_epoch: Epoch = 0
    """Which plan it obeys."""
    config_serial: Annotated[int, Field(ge=0)] = 0
    """Which `fleet apply` it has accepted."""
    plant_refused: str = ""
    """Why it does not use the plant in the store; "": it does."""
    cameras: dict[CameraName, CameraReport] = Field(default_factory=dict)
    """Those that it has open, and so inspects or tries to."""

    def as_node(self, name: NodeName | Literal[""]) -> FleetNode:
        """Return it as the planner sees it."""
        return FleetNode(
            name=name,
            capacity=Workload(self.inspections_mhz, self.pixels_s),
            labels=self.labels,
            refuses={name: self.lacks.get(name, "") for name in self.refuses},
            is_draining=self.draining,
            is_full=self.full,
        )
