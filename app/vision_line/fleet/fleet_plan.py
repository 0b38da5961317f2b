# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plan as it stands in the store: names and numbers, no URL and no setting; one value, one epoch. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from vision_line.config.table_values import NAME, NODE_NAME

NodeName = Annotated[str, StringConstraints(pattern=rf"^{NODE_NAME.pattern}$")]
CameraName = Annotated[str, StringConstraints(pattern=rf"^{NAME.pattern}$")]
Epoch = Annotated[int, Field(ge=0)]

#: Why a camera was inspected by nobody until its node's first inspection; "": nothing is known to have been before.
LossCause = Literal["", "node:lost", "node:moving", "capacity"]


class Stored(BaseModel):
    """What a node reads from the store: unknown keys of a newer version are left out, wrong values are refused."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    def to_bytes(self) -> bytes:
        """Return it as it is stored."""
        return self.model_dump_json(exclude_defaults=True).encode()


class Assignment(Stored):
    """Who inspects a camera, and who is to.

    With an `heir` two may inspect it: the node goes on until the heir does, but where `closing` is set: then the node
    closes it first, and the heir opens it when that is known.
    """

    node: NodeName | Literal[""] = ""
    """Who inspects it; "" while nobody can. What is in `FleetPlan.left_out` too waits for a node that is away."""
    epoch: Epoch = 0
    """The plan that gave it to the node."""
    heir: NodeName | Literal[""] = ""
    """Who is to inspect it next; "": nobody else."""
    heir_epoch: Epoch = 0
    """The plan that named the heir."""
    closing: bool = False
    """Whether the node is to close it before the heir opens it."""
    cause: LossCause = ""
    """Why it was not inspected before the node's first inspection."""

    def epoch_for(self, node: str) -> int | None:
        """Return the epoch under which `node` inspects the camera now, None where it does not."""
        if self.closing:
            return None
        if node == self.node:
            return self.epoch
        return self.heir_epoch if node and node == self.heir else None


class FleetPlan(Stored):
    """All assignments. Of two plans the one of the higher epoch holds, whatever the store's revisions say."""

    version: Literal[1] = 1
    epoch: Epoch = 0
    config_serial: Annotated[int, Field(ge=0)] = 0
    """Which `fleet apply` it was planned for."""
    cameras: dict[CameraName, Assignment] = Field(default_factory=dict)
    reduced: frozenset[NodeName] = frozenset()
    """Nodes that inspect as rarely as parts allow."""
    left_out: dict[CameraName, str] = Field(default_factory=dict)
    """Cameras that nobody inspects, and why."""

    def of_node(self, node: str) -> Iterator[tuple[str, Assignment]]:
        """Yield the cameras that `node` is to inspect now."""
        for name, assignment in self.cameras.items():
            if assignment.epoch_for(node) is not None:
                yield name, assignment

    def places(self, living: Mapping[str, object]) -> dict[str, str]:
        """Return at which living node each camera is, or will be."""
        return {
            name: node
            for name, assignment in self.cameras.items()
            if (node := next((one for one in (assignment.heir, assignment.node) if one in living), ""))
        }
