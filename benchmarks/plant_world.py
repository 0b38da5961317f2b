# SPDX-License-Identifier: AGPL-3.0-or-later
"""A plant in virtual time: boxes that share its cameras by the product's own protocol, and some of them lost.

Played beside the boxes (`benchmarks.plant_box`) is the store: what is written is heard, and what is asked is answered,
a step later, and nothing is lost. The protocol of each node, its planner and its leases are the product's.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from benchmarks.made_store import MadeStore
from benchmarks.plant_box import PlantBox, PlantCamera
from benchmarks.virtual_time import SIZE_WH
from vision_line.capacity.estimate import Scenario, estimate, pipeline
from vision_line.config.models import Stream
from vision_line.fleet.coordination import PLAN, StoreEntry
from vision_line.fleet.fleet_link import TICK_S
from vision_line.fleet.fleet_member import FleetMember, Put, Read, Request
from vision_line.fleet.fleet_plan import Assignment, FleetPlan
from vision_line.fleet.node_report import CameraReport, NodeReport
from vision_line.fleet.plant_cameras import least_fps
from vision_line.fleet.workload import FleetCamera, Workload
from vision_line.frames import NotInspected
from vision_line.inspection.coverage.causes import Absence

#: What boxes say to each other arrives a step later.
STEP_S = 0.05
DWELL_S = 2.0


@dataclass(frozen=True, slots=True)
class Plant:
    """What is played: `box` is the question to the capacity model that gives each box its times and its capacity."""

    box: Scenario
    cameras: int
    boxes: int
    lost: int  # boxes
    lost_s: float  # when; a little later, as the seed has it
    until_s: float
    seed: int = 1


@dataclass(frozen=True, slots=True)
class LostCamera:
    """A camera of a box that was lost, in virtual seconds: when it was inspected last, and first elsewhere."""

    name: str
    said_s: float  # the box's last heartbeat
    last_inspected_s: float
    opened_s: float | None = None  # by its heir
    inspected_s: float | None = None


@dataclass(slots=True)
class PlayedPlant:
    """What a plant has shown."""

    plant: Plant
    lost_s: float  # when the boxes were lost
    lost: tuple[LostCamera, ...]
    lost_leader: bool
    results: list[tuple[float, float]]  # of all boxes, by time: when, and the frame's age
    intervals: list[NotInspected]  # of the boxes that live
    drops: Counter[str] = field(default_factory=Counter)  # by cause, of the boxes that live
    inspected: int = 0  # cameras that are inspected in the end
    moved: int = 0  # cameras of boxes that live which are elsewhere in the end


class PlantNode:
    """A box with its part of the protocol."""

    def __init__(self, number: int, world: PlantWorld) -> None:
        """Begin without a camera."""
        plant = world.plant
        self.name = f"box{number:02d}"
        self.box = PlantBox(self.name, pipeline(plant.box), random.Random(f"{plant.seed} {self.name}"))
        self.member = FleetMember(self.name, f"life of {self.name}")
        self.member.configure(world.fleet_cameras, 1)
        self.said_s = 0.0
        self._world = world
        self._coming: list[StoreEntry] = []
        self._answers: list[tuple[Request, StoreEntry | None]] = []
        self._tick_s = TICK_S * number / plant.boxes

    def hear(self, entry: StoreEntry) -> None:
        """Take in what is heard with the next step."""
        self._coming.append(entry)

    def step(self, now_s: float) -> None:
        """Hear, obey and ask."""
        coming, self._coming = self._coming, []
        for entry in coming:
            self.member.saw(entry, now_s)
        answers, self._answers = self._answers, []
        for request, answer in answers:
            if isinstance(request, Read):
                self.member.came(request, answer, now_s)
            elif not isinstance(request, Put):
                self.member.answered(request, None if answer is None else answer.revision, now_s)
        if now_s >= self._tick_s:
            self._tick_s += TICK_S
            for request in self.member.tick(self._report(), now_s):
                self._ask(request, now_s)
        self._obey()

    def _ask(self, request: Request, now_s: float) -> None:
        world, entry = self._world, None
        if isinstance(request, Put):
            self.said_s = now_s
            world.deliver(world.store.put(request.key, request.value))
        elif isinstance(request, Read):
            entry = world.store.entries.get(request.key)
        elif (entry := world.store.swap(request.key, request.value, request.expected)) is not None:
            world.deliver(entry)
        self._answers.append((request, entry))

    def _obey(self) -> None:
        plan, box = self.member.plan, self.box
        if plan is None:
            return
        wanted = {name for name, _ in plan.of_node(self.name)}
        for name in [name for name in box.cameras if name not in wanted]:
            box.close(name)
        for name in sorted(wanted - box.cameras.keys()):
            box.open(self._world.cameras[name], self._absence_of(name))

    def _absence_of(self, name: str) -> Absence | None:
        """Return since when nobody inspected a camera, as a node of the product says it."""
        assignment = None if self.member.plan is None else self.member.plan.cameras.get(name)
        since_s = self.member.last_inspected_s(name)
        if assignment is None or not assignment.cause or since_s is None:
            return None
        return Absence(since_s, assignment.cause)

    def _report(self) -> NodeReport:
        plan, inspected = self.member.plan, self.box.inspected_cameras()
        epochs = {} if plan is None else {name: one.epoch_for(self.name) or 0 for name, one in plan.of_node(self.name)}
        return NodeReport(
            version="simulation",
            inspections_mhz=self._world.capacity.inspections_mhz,
            pixels_s=self._world.capacity.pixels_s,
            cameras={
                name: CameraReport(epoch=epochs.get(name, 0), inspected=name in inspected) for name in self.box.cameras
            },
        )


class PlantWorld:
    """All boxes and their store."""

    def __init__(self, plant: Plant) -> None:
        """Start the boxes with the plan that they obeyed before; from now on their own protocol makes it."""
        chance = random.Random(plant.seed)
        scenario = plant.box
        pixels_s = round(scenario.fps * SIZE_WH[0] * SIZE_WH[1])
        self.plant = plant
        self.store = MadeStore()
        self.cameras: dict[str, PlantCamera] = {}
        self.fleet_cameras: dict[str, FleetCamera] = {}
        for number in range(plant.cameras):
            name = f"cam{number:04d}"
            stream = Stream.model_validate(
                {"name": name, "url": "rtsp://10.0.0.1/x", "dwell_s": DWELL_S, "inspect_fps": scenario.wanted_fps}
            )
            self.cameras[name] = PlantCamera(stream, chance.random() / scenario.fps)
            self.fleet_cameras[name] = FleetCamera(
                name=name,
                wanted=Workload(round(scenario.wanted_fps * 1000), pixels_s),
                least=Workload(round(least_fps(stream) * 1000), pixels_s),
            )
        most = most_cameras(scenario)
        self.capacity = Workload(round(most * scenario.wanted_fps * 1000), most * pixels_s)
        self.nodes = [PlantNode(number, self) for number in range(plant.boxes)]
        self.deliver(self.store.put(PLAN, self._first_plan().to_bytes()))
        self._lost: list[PlantNode] = []
        self._chance = chance

    def _first_plan(self) -> FleetPlan:
        """Return the plan that was in force before: all boxes have as many cameras."""
        names = [node.name for node in self.nodes]
        cameras = {
            name: Assignment(node=names[number % len(names)], epoch=1) for number, name in enumerate(self.cameras)
        }
        return FleetPlan(epoch=1, config_serial=1, cameras=cameras)

    def deliver(self, entry: StoreEntry) -> None:
        """Let every living node hear of a value with its next step."""
        for node in self.nodes:
            node.hear(entry)

    def play(self) -> PlayedPlant:
        """Play to the end, lose the boxes on the way, and return what was seen."""
        plant, now_s = self.plant, 0.0
        lost_s = plant.lost_s + self._chance.random()
        cameras: list[LostCamera] = []
        owners: Mapping[str, str] = {}
        lost_leader = False
        try:
            for number in range(1, round(plant.until_s / STEP_S) + 1):
                now_s = number * STEP_S
                if plant.lost and not self._lost and now_s >= lost_s:
                    owners = self._owners()
                    lost_leader = any(node.member.is_leading for node in self._lose())
                    cameras = [one for node in self._lost for one in _cameras_of(node)]
                for node in self.nodes:
                    node.box.time.step(now_s)
                for node in self.nodes:
                    node.step(now_s)
            inspected = set[str]().union(*(node.box.inspected_cameras() for node in self.nodes))
        finally:
            for node in self.nodes:
                node.box.end()
            for node in self._lost:
                node.box.end(died=True)
        found = self._owners()
        living = {node.name for node in self.nodes}
        return PlayedPlant(
            plant=plant,
            lost_s=lost_s,
            lost=tuple(self._taken_over(one) for one in cameras),
            lost_leader=lost_leader,
            results=sorted(result for node in (*self.nodes, *self._lost) for result in node.box.results),
            intervals=[one for node in self.nodes for one in node.box.intervals.values() if not one.withdrawn],
            drops=sum((node.box.drops() for node in self.nodes), Counter[str]()),
            inspected=len(inspected),
            moved=sum(found.get(name) != owner for name, owner in owners.items() if owner in living),
        )

    def _lose(self) -> Sequence[PlantNode]:
        self._lost = self._chance.sample(self.nodes, self.plant.lost)
        self.nodes = [node for node in self.nodes if node not in self._lost]
        return self._lost

    def _owners(self) -> Mapping[str, str]:
        owners: dict[str, str] = {}
        for node in self.nodes:
            owners |= dict.fromkeys(node.box.cameras, node.name)
        return owners

    def _taken_over(self, lost: LostCamera) -> LostCamera:
        opened = next((node.box.cameras[lost.name] for node in self.nodes if lost.name in node.box.cameras), None)
        if opened is None:
            return lost
        return LostCamera(lost.name, lost.said_s, lost.last_inspected_s, opened.opened_s, opened.first_inspected_s)


@cache
def most_cameras(scenario: Scenario) -> int:
    """Return how many cameras a box can do at the most, by the capacity model."""
    return estimate(scenario).most_cameras


def _cameras_of(node: PlantNode) -> list[LostCamera]:
    """Return the cameras of a box that is lost now; those that it had not yet inspected are not lost by that."""
    return [
        LostCamera(name, node.said_s, camera.last_inspected_s)
        for name, camera in node.box.cameras.items()
        if camera.last_inspected_s is not None
    ]


def ages_by_second(results: Sequence[tuple[float, float]]) -> dict[int, list[float]]:
    """Return the ages of results by the second in which they came."""
    found: defaultdict[int, list[float]] = defaultdict(list)
    for at_s, age_s in results:
        found[int(at_s)].append(age_s)
    return found
