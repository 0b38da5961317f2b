# SPDX-License-Identifier: AGPL-3.0-or-later
"""Some nodes in one event loop on three real NATS servers: what moves when a node or a server dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.fakes.nats_servers import NatsServers, running_nats

from vision_line.fleet.fleet_link import FleetLink
from vision_line.fleet.fleet_member import FleetMember
from vision_line.fleet.fleet_plan import FleetPlan
from vision_line.fleet.nats_coordination import NatsCoordination
from vision_line.fleet.node_report import CameraReport, NodeReport
from vision_line.fleet.workload import FleetCamera, Workload

pytestmark = pytest.mark.timeout(900)

#: Three servers that agree and write through, four nodes whose leases must not run out meanwhile: on a busy machine
#: that takes many turns.
PATIENCE_S = 120.0
CAMERAS = {
    name: FleetCamera(name=name, wanted=Workload(1000, 1000), least=Workload(1000, 1000))
    for name in (f"cam{number:02d}" for number in range(24))
}


@dataclass
class Node:
    """A node whose cameras open at once."""

    name: str
    servers: NatsServers
    cameras: dict[str, int] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    config: bytes = b""

    def __post_init__(self) -> None:
        self.member = FleetMember(self.name, f"life of {self.name}")
        self.member.configure(CAMERAS, 1)
        self.store = NatsCoordination(self.servers.urls, self.name)
        self.link = FleetLink(self.member, self.store, self.report, self.obey, self.configure)
        self.task = asyncio.create_task(self.link.run(), name=self.name)

    def report(self) -> NodeReport:
        """Return what it says of itself."""
        opened = {name: CameraReport(epoch=epoch, inspected=True) for name, epoch in self.cameras.items()}
        return NodeReport(inspections_mhz=20_000, pixels_s=20_000, cameras=opened)

    def obey(self, plan: FleetPlan) -> None:
        """Open and close what the plan says."""
        wanted = {name: one.epoch_for(self.name) or 0 for name, one in plan.of_node(self.name)}
        self.closed += self.cameras.keys() - wanted.keys()
        self.cameras = wanted

    def configure(self, value: bytes) -> None:
        """Take a configuration."""
        self.config = value
        self.link.keep(value)

    async def end(self) -> None:
        """End without a word, as a process that is killed."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await self.store.close()


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[tuple[NatsServers, list[Node]]]:
    """Four nodes whose cameras are all inspected."""
    with running_nats(tmp_path) as servers:
        nodes = [Node(f"n{number}", servers) for number in range(4)]
        try:
            await until(lambda: inspected(nodes) == list(CAMERAS))
            yield servers, nodes
        finally:
            await asyncio.gather(*(node.end() for node in nodes))


async def until(holds: Callable[[], bool]) -> float:
    """Wait for a condition, and return how long it took."""
    began_s = time.monotonic()
    while not holds():
        assert time.monotonic() - began_s < PATIENCE_S
        await asyncio.sleep(0.05)
    return time.monotonic() - began_s


def inspected(nodes: list[Node]) -> list[str]:
    """Return each camera as often as it is inspected."""
    return sorted(name for node in nodes for name in node.cameras)


async def test_cameras_of_a_dead_node_are_inspected_elsewhere(plant: tuple[NatsServers, list[Node]]) -> None:
    """Without a word from it, and no other camera moves; what a node says goodbye to is given away sooner."""
    _, nodes = plant
    dead, *living = nodes
    await dead.end()
    await until(lambda: inspected(living) == list(CAMERAS))
    assert not any(node.closed for node in living)

    leaving, *staying = living
    leaving.task.cancel()
    await leaving.link.leave()
    await until(lambda: inspected(staying) == list(CAMERAS))
    assert not any(node.closed for node in staying)


async def test_a_store_that_breaks_moves_nothing(plant: tuple[NatsServers, list[Node]]) -> None:
    """Each server in turn, then all with their disks: the plan comes back as it was, and the configuration."""
    servers, nodes = plant
    before = {node.name: set(node.cameras) for node in nodes}
    await nodes[0].store.put("config", b"signed")
    await until(lambda: all(node.config == b"signed" for node in nodes))
    epoch = max(node.member.plan.epoch for node in nodes if node.member.plan is not None)
    servers.kill(0)
    servers.kill(1)
    await asyncio.sleep(5)  # longer than a lease: nobody hears anything
    servers.kill_all(wiped=True)
    servers.start_all()
    await until(lambda: all(node.member.plan is not None and node.member.plan.epoch > epoch for node in nodes))

    assert {node.name: set(node.cameras) for node in nodes} == before
    assert not any(node.closed for node in nodes)
    await until(lambda: any(node.member.is_leading for node in nodes))
    await config_is_back(nodes[0].store)


async def config_is_back(store: NatsCoordination) -> None:
    """Wait until the store has a configuration again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await store.get("config") is not None:
                return
            await asyncio.sleep(0.1)
