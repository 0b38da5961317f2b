# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a node says of itself with every heartbeat. Pure."""

from __future__ import annotations

from collections.abc import Iterable
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

    def as_node(self, name: NodeName | Literal[""], newer: Iterable[str] = ()) -> FleetNode:
        """Return it as the planner sees it.

        Where it goes on with an older plant than the planner's, `newer` are the cameras of the planner's: of them it
        can only be trusted to know those that it has open.
        """
        secrets = {camera: _without_secret(self.lacks.get(camera, "")) for camera in self.refuses}
        unknown = {camera: f"goes on with plant {self.config_serial}" for camera in newer if camera not in self.cameras}
        return FleetNode(
            name=name,
            capacity=Workload(self.inspections_mhz, self.pixels_s),
            labels=self.labels,
            refuses=secrets | unknown,
            is_draining=self.draining,
            is_full=self.full,
        )


def _without_secret(secrets: str) -> str:
    return f"has no secret {secrets} for it" if secrets else "has no secret for it"
