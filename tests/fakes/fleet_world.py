# SPDX-License-Identifier: AGPL-3.0-or-later
"""A plant in virtual time: the protocol of every node, and a store, watches and machines that fail as they are told."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from benchmarks.made_store import MadeStore

from vision_line.fleet.coordination import StoreEntry
from vision_line.fleet.fleet_member import FleetMember, Put, Read, Request, Swap
from vision_line.fleet.node_report import CameraReport, NodeReport
from vision_line.fleet.workload import FleetCamera, Workload

STEP_S = 0.25
CONNECT_S = 0.5
#: A request that the store does not answer is given up after this.
GIVE_UP_S = 1.0
#: A watch to which nothing comes is begun anew.
SILENT_S = 1.0
#: Whoever was silent for longer may be given up by others: a lease, less a heartbeat that was on its way.
AWAY_S = 2.0
#: What the store's clock shows when the nodes' own clocks show 0.
STORE_BEGAN_S = 1.7e9


class BrokenStore(MadeStore):
    """A store that may be away, and that may lose all that it had."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.is_there = True

    def wipe(self) -> None:
        """Begin anew, with the first revision."""
        self.entries.clear()
        self.revision = 0


@dataclass
class Watch:
    """What is on its way to one node."""

    coming: list[StoreEntry] = field(default_factory=list)
    is_silent: bool = False
    heard_s: float = 0.0


class MadeNode:
    """One process with its protocol; it opens what it is to inspect, which takes a moment."""

    def __init__(self, name: str, life: str, world: World, *, lanes: int, labels: frozenset[str]) -> None:
        self.name = name
        self.member = FleetMember(name, life)
        self.world = world
        self.plant_refused = ""
        self.take_plant()
        self.capacity = Workload(lanes * 1000, lanes * 1000)
        self.labels = labels
        self.watch = Watch()
        self.opened: dict[str, tuple[int, float]] = {}  # by camera: its epoch, and since when
        self.absent_since_s: dict[str, float | None] = {}  # by camera that was opened: since when it was not inspected
        self.excused: set[str] = set()  # cameras that others may have taken: it was away for too long
        self.paused_until_s = 0.0
        self.is_cut = False
        self.is_deaf = False  # its watch brings nothing, and what it asks is answered
        self.is_draining = False
        self.said_s = world.now_s  # when the store had its heartbeat last
        self.waiting: list[tuple[float, Request]] = []  # requests that nobody answers, with when they are given up

    @property
    def is_awake(self) -> bool:
        """Whether it runs now."""
        return self.world.now_s >= self.paused_until_s

    def take_plant(self) -> None:
        """Accept the plant that is in force."""
        self.cameras = self.world.cameras
        self.member.configure(self.cameras, self.world.serial)

    def step(self) -> None:
        """Run for one step: hear, obey, ask."""
        now_s = self.world.now_s
        if not self.is_awake:
            return
        self._hear(now_s)
        self._obey(now_s)
        for given_up_s, request in list(self.waiting):
            if now_s >= given_up_s:
                self.waiting.remove((given_up_s, request))
                self.member.failed(request)
        for request in self.member.tick(self.report(now_s), now_s):
            self._ask(request, now_s)
        self._obey(now_s)

    def report(self, now_s: float) -> NodeReport:
        """Return what it says of itself."""
        return NodeReport(
            version="1",
            labels=self.labels,
            inspections_mhz=self.capacity.inspections_mhz,
            pixels_s=self.capacity.pixels_s,
            draining=self.is_draining,
            plant_refused=self.plant_refused,
            cameras={
                name: CameraReport(epoch=epoch, inspected=now_s - since_s >= CONNECT_S)
                for name, (epoch, since_s) in self.opened.items()
            },
        )

    def _hear(self, now_s: float) -> None:
        store, watch = self.world.store, self.watch
        if self.is_cut or self.is_deaf or not store.is_there:
            return
        if watch.coming:
            watch.heard_s = now_s
        elif now_s - watch.heard_s > SILENT_S:
            watch.is_silent, watch.heard_s = False, now_s
            watch.coming = sorted(store.entries.values(), key=lambda entry: entry.revision)
        coming, watch.coming = watch.coming, []
        for entry in coming:
            self.member.saw(entry, now_s)

    def _ask(self, request: Request, now_s: float) -> None:
        world = self.world
        if self.is_cut or not world.store.is_there:
            self.waiting.append((now_s + GIVE_UP_S, request))
            return
        if isinstance(request, Put):
            self.said_s = now_s
            world.deliver(world.store.put(request.key, request.value))
        elif isinstance(request, Read):
            self.member.came(request, world.store.entries.get(request.key), now_s)
        else:
            self._swap(request, now_s)

    def _swap(self, request: Swap, now_s: float) -> None:
        world = self.world
        entry = world.store.swap(request.key, request.value, request.expected)
        if entry is not None:
            world.deliver(entry)
        if world.random.random() < world.unknown_outcomes:
            self.member.failed(request)
        else:
            self.member.answered(request, None if entry is None else entry.revision, now_s)

    def _obey(self, now_s: float) -> None:
        plan = self.member.plan
        if plan is None:
            return
        wanted = {name: assignment.epoch_for(self.name) for name, assignment in plan.of_node(self.name)}
        wanted = {name: epoch for name, epoch in wanted.items() if name in self.cameras}
        for name in [name for name in self.opened if name not in wanted]:
            self.world.closed(self, name)
            del self.opened[name]
        for name, epoch in wanted.items():
            if name not in self.opened:
                self.opened[name] = (epoch or 0, now_s)
                self.absent_since_s[name] = self.member.last_inspected_s(name)
                # Who obeys an old plan on waking up may have lost the camera by a newer one.
                (self.excused.add if now_s - self.said_s > AWAY_S else self.excused.discard)(name)
            elif self.opened[name][0] != epoch:
                self.opened[name] = (epoch or 0, self.opened[name][1])


def cameras_of(count: int, sessions: int = 2) -> dict[str, FleetCamera]:
    """Return so many cameras of one unit each."""
    names, unit = [f"cam{number:02d}" for number in range(count)], Workload(1000, 1000)
    return {name: FleetCamera(name=name, wanted=unit, least=unit, sessions=sessions) for name in names}


class World:
    """All nodes of the plant and its store; `broken` gathers what must not happen."""

    def __init__(self, cameras: int, nodes: int, *, lanes: int, seed: int = 0, sessions: int = 2) -> None:
        self.now_s = 1000.0
        self.random = random.Random(seed)
        self.store = BrokenStore(lambda: STORE_BEGAN_S + self.now_s)
        self.serial = 1
        self.cameras = cameras_of(cameras, sessions)
        self.nodes: dict[str, MadeNode] = {}
        self.lives = 0
        self.lanes = lanes
        self.lossy = 0.0  # share of what watches lose
        self.unknown_outcomes = 0.0
        self.quiet_since_s = self.now_s
        self.away_of: dict[str, float] = {}  # by camera: since when nobody inspects it
        self.longest_away_s: dict[str, float] = defaultdict(float)
        self.broken: list[str] = []
        for number in range(nodes):
            self.start(f"n{number}")

    def start(self, name: str, labels: frozenset[str] = frozenset()) -> MadeNode:
        """Start a process; one of that name has ended."""
        self.lives += 1
        node = self.nodes[name] = MadeNode(name, f"life{self.lives}", self, lanes=self.lanes, labels=labels)
        return node

    def apply(self, cameras: int, *, without: Collection[str] = (), why: str = "") -> None:
        """Bring a plant of so many cameras in force; nodes that stay `without` it say `why`."""
        self.serial += 1
        self.cameras = cameras_of(cameras)
        for name, node in self.nodes.items():
            if name in without:
                node.plant_refused = why
            else:
                node.take_plant()

    def kill(self, name: str) -> None:
        """End a process at once."""
        del self.nodes[name]
        self.disturb()

    def disturb(self) -> None:
        """Note that something was broken or mended now."""
        self.quiet_since_s = self.now_s

    @property
    def quiet_s(self) -> float:
        """How long nothing was broken."""
        return self.now_s - self.quiet_since_s

    def leader(self) -> str:
        """Return who believes to lead, by name; "" nobody."""
        return next((name for name, node in self.nodes.items() if node.member.is_leading), "")

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            for node in self.random.sample(list(self.nodes.values()), len(self.nodes)):
                node.step()
            self._look_after_silence()
            self._count_away()

    def deliver(self, entry: StoreEntry) -> None:
        """Send a value to all watches."""
        for node in self.nodes.values():
            lost = node.is_cut or node.is_deaf or node.watch.is_silent or self.random.random() < self.lossy
            if not lost:
                node.watch.coming.append(entry)

    def closed(self, node: MadeNode, camera: str) -> None:
        """Note that a node gave a camera up: it may, if it was away or another one inspects it by a plan."""
        if camera in node.excused or node.is_draining or camera not in self.cameras:
            return
        self.broken.append(f"{self.now_s:.2f}: {node.name}, which was well, lost {camera}")

    def owners(self) -> dict[str, list[str]]:
        """Return who has each camera open."""
        found: dict[str, list[str]] = {name: [] for name in self.cameras}
        for node in self.nodes.values():
            for name in node.opened:
                found[name].append(node.name)
        return found

    def inspected(self) -> set[str]:
        """Return the cameras that somebody inspects now."""
        return {
            name
            for node in self.nodes.values()
            if node.is_awake
            for name, (_, since_s) in node.opened.items()
            if self.now_s - since_s >= CONNECT_S
        }

    def _look_after_silence(self) -> None:
        """Excuse nodes whose heartbeats stayed away for so long that others may have given them up."""
        if not self.store.is_there:
            for node in self.nodes.values():
                if not node.is_cut and node.is_awake:
                    node.said_s = self.now_s  # away with all others: nobody can tell, and nobody may move
            return
        for node in self.nodes.values():
            if self.now_s - node.said_s > AWAY_S:
                node.excused |= set(node.opened)

    def _count_away(self) -> None:
        inspected = self.inspected()
        for name in self.cameras:
            if name in inspected:
                self.away_of.pop(name, None)
                continue
            since_s = self.away_of.setdefault(name, self.now_s)
            self.longest_away_s[name] = max(self.longest_away_s[name], self.now_s - since_s)
