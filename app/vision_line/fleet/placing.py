# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which node inspects which camera: `place`, sticky, within capacity, labels and pins. Pure.

Nothing moves that may stay. A camera without a node goes where most is free. Where none has room, others make room by
going elsewhere; then cameras are inspected as rarely as their parts allow, on the nodes that need it; then cameras of
lower priority are given up. Each round either changes nothing or places more, so that rounds come to an end, and a plan
that is planned again stays as it is.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vision_line.fleet.workload import FULL_PERCENT, NOTHING, FleetCamera, FleetNode, Workload

#: How many cameras of a node are asked whether they can go elsewhere so that another one has room.
MOST_TRIES = 6

#: Why a camera has no node although one may inspect it.
NO_ROOM = "capacity"


@dataclass(frozen=True, slots=True)
class Placed:
    """Where cameras belong: each one's node, who inspects as rarely as parts allow, and why the others have none."""

    nodes: Mapping[str, str]  # by camera
    reduced: frozenset[str]  # nodes
    left_out: Mapping[str, str]  # by camera: `NO_ROOM`, or why no living node may inspect it


def place(nodes: Mapping[str, FleetNode], cameras: Mapping[str, FleetCamera], current: Mapping[str, str]) -> Placed:
    """Return where each of `cameras` belongs, given the living `nodes` and who has which now."""
    places = _all_placed(nodes, cameras, current)
    if places is None:
        rare = _settled(_Round(nodes, cameras, least=True), current)
        places = _all_placed(nodes, cameras, rare) or rare
    used = dict.fromkeys(nodes, NOTHING)
    for camera, node in places.items():
        used[node] = used[node].plus(cameras[camera].wanted)
    reduced = frozenset(name for name, node in nodes.items() if not used[name].fits(node.capacity))
    left_out = {name: why_left_out(nodes, camera) for name, camera in cameras.items() if name not in places}
    return Placed(places, reduced, left_out)


def why_left_out(nodes: Mapping[str, FleetNode], camera: FleetCamera) -> str:
    """Return `NO_ROOM` where a node may inspect the camera, else what stands against it."""
    if camera.pin and camera.pin not in nodes:
        return f"pinned to {camera.pin}, which is away"
    open_nodes = [node for node in nodes.values() if not node.is_draining]
    if not open_nodes:
        return "no node is there" if not nodes else "all nodes are draining"
    obstacles = defaultdict[str, list[str]](list)
    for node in sorted(open_nodes, key=lambda node: node.name):
        if node.name == camera.pin or not camera.pin:
            obstacles[node.obstacle(camera)].append(node.name)
    if not obstacles:
        return f"{camera.pin} is draining"
    if "" in obstacles:
        return NO_ROOM
    return "; ".join(f"{_short_list(names)}: {why}" for why, names in sorted(obstacles.items()))


def _short_list(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")


def _all_placed(
    nodes: Mapping[str, FleetNode], cameras: Mapping[str, FleetCamera], current: Mapping[str, str]
) -> dict[str, str] | None:
    """Return where cameras belong with every inspection that is wanted; None: not all that could be somewhere can."""

    def could_go(camera: FleetCamera) -> bool:
        return any(
            node.takes(camera, current.get(camera.name)) and camera.least.fits(node.capacity, FULL_PERCENT)
            for node in nodes.values()
        )

    asked = frozenset(name for name, camera in cameras.items() if could_go(camera))
    try:
        places = _settled(_Round(nodes, cameras, asked=asked), current)
    except _NoRoomError:
        return None
    still_draining = (name for name, node in places.items() if nodes[node].is_draining)
    return None if asked.intersection(still_draining) else places


def _settled(step: _Round, current: Mapping[str, str]) -> dict[str, str]:
    """Return where cameras are once another round changes nothing."""
    places = dict(current)
    while True:
        before, places = places, step.play(places)
        if places == before:
            return places


class _NoRoomError(Exception):
    """A camera that must have a node finds none."""


class _Round:
    """The nodes with their room, at one rate of inspection of all cameras."""

    def __init__(
        self,
        nodes: Mapping[str, FleetNode],
        cameras: Mapping[str, FleetCamera],
        *,
        least: bool = False,
        asked: frozenset[str] = frozenset(),
    ) -> None:
        """Use the `least` rates or those that are wanted; each camera of `asked` must find a node."""
        self._nodes = nodes
        self._cameras = cameras
        self._asked = asked
        self._needs = {name: camera.least if least else camera.wanted for name, camera in cameras.items()}
        self._smallest = (
            Workload(*(min(column) for column in zip(*self._needs.values(), strict=True))) if cameras else NOTHING
        )
        self._open = {
            name: [node for node in sorted(nodes) if not nodes[node].is_draining and not nodes[node].obstacle(camera)]
            for name, camera in cameras.items()
        }
        self._current: Mapping[str, str] = {}
        self._used: dict[str, Workload] = {}
        self._at: dict[str, dict[str, None]] = {}  # the cameras of each node
        self._places: dict[str, str] = {}

    def play(self, current: Mapping[str, str]) -> dict[str, str]:
        """Keep what may stay, then give each other camera a node, then empty the nodes that drain.

        Raises:
            _NoRoomError: one that is asked for finds none.
        """
        self._current = current
        self._used = dict.fromkeys(self._nodes, NOTHING)
        self._at = {name: {} for name in self._nodes}
        self._places = {}
        self._keep(current)
        queue = [(self._turn(name), name) for name in self._cameras if name not in self._places]
        heapq.heapify(queue)
        while queue:
            _, name = heapq.heappop(queue)
            for given_up in self._take_in(name):
                heapq.heappush(queue, (self._turn(given_up), given_up))
        self._empty_draining()
        return self._places

    def _keep(self, current: Mapping[str, str]) -> None:
        staying = [name for name, node in current.items() if name in self._cameras and node in self._nodes]
        for name in sorted(staying, key=self._turn):
            node, camera = self._nodes[current[name]], self._cameras[name]
            if not node.obstacle(camera) and self._used[node.name].plus(self._needs[name]).fits(node.capacity):
                self._put(name, node.name)

    def _rank(self, name: str) -> tuple[bool, int]:
        """Return how much a camera counts where there is no room for all: one that can be nowhere else the most."""
        camera = self._cameras[name]
        return bool(camera.pin), camera.priority

    def _turn(self, name: str) -> tuple[bool, int, int, int, int, str]:
        """Return when a camera gets its node: those of high rank first, then those with the fewest choices."""
        pinned, priority = self._rank(name)
        need = self._needs[name]
        return not pinned, -priority, len(self._open[name]), -need.pixels_s, -need.inspections_mhz, name

    def _take_in(self, name: str) -> Iterable[str]:
        """Give a camera a node, if any way leads there; return the cameras that were given up for it."""
        node = self._roomiest(name)
        if node is not None:
            self._put(name, node)
        elif not self._make_room(name):
            if name in self._asked:
                raise _NoRoomError
            return self._replace_lower(name)
        return ()

    def _roomiest(self, name: str, without: str = "") -> str | None:
        """Return the node with room for the camera that has the most left then."""
        best: tuple[float, str] | None = None
        for node in self._open[name]:
            if node != without and self._has_room(name, node, self._used[node]):
                share = self._used[node].plus(self._needs[name]).share_of(self._nodes[node].capacity)
                best = min(best or (share, node), (share, node))
        return None if best is None else best[1]

    def _has_room(self, name: str, node: str, used: Workload) -> bool:
        at = self._nodes[node]
        return at.takes(self._cameras[name], self._current.get(name)) and used.plus(self._needs[name]).fits(
            at.capacity, FULL_PERCENT
        )

    def _make_room(self, name: str) -> bool:
        """Have cameras of a node go elsewhere, as few as possible, so that this one has room there."""
        if not any(
            self._used[node].plus(self._smallest).fits(self._nodes[node].capacity, FULL_PERCENT) for node in self._nodes
        ):
            return False  # nobody has room for anything
        for node in sorted(self._open[name], key=lambda node: self._used[node].share_of(self._nodes[node].capacity)):
            movable = [other for other in self._at[node] if not self._cameras[other].pin]
            sizes = sorted(movable, key=lambda other: (self._needs[other][::-1], other))
            alone = [other for other in sizes if self._has_room(name, node, self._used[node].minus(self._needs[other]))]
            tries = [*([one] for one in alone[:MOST_TRIES]), sizes[: -MOST_TRIES - 1 : -1]]
            if any(self._moved(name, node, others) for others in tries):
                return True
        return False

    def _moved(self, name: str, node: str, others: Iterable[str]) -> bool:
        """Move `others` away one by one until there is room at `node`; undo all of it where that does not suffice."""
        moved: list[str] = []
        for other in others:
            if (elsewhere := self._roomiest(other, without=node)) is None:
                continue
            self._put(other, elsewhere)
            moved.append(other)
            if self._has_room(name, node, self._used[node]):
                self._put(name, node)
                return True
        for other in reversed(moved):
            self._put(other, node)
        return False

    def _replace_lower(self, name: str) -> list[str]:
        """Give up cameras of lower rank, the lowest first, at the node where they count least; return them."""
        best: tuple[tuple[tuple[bool, int], int, str], str, list[str]] | None = None
        for node in self._open[name]:
            lower = sorted(
                (other for other in self._at[node] if self._rank(other) < self._rank(name)),
                key=lambda other: (self._rank(other), self._needs[other][::-1], other),
            )
            used, given_up = self._used[node], []
            for other in lower:
                used = used.minus(self._needs[other])
                given_up.append(other)
                if self._has_room(name, node, used):
                    cost = (self._rank(other), len(given_up), node)
                    best = min(best or (cost, node, given_up), (cost, node, given_up))
                    break
        if best is None:
            return []
        _, node, given_up = best
        for other in given_up:
            self._remove(other)
        self._put(name, node)
        return given_up

    def _empty_draining(self) -> None:
        """Move what nodes that drain still have to where there is room; what finds none stays."""
        for node in sorted(self._nodes):
            if self._nodes[node].is_draining:
                for name in sorted(self._at[node], key=self._turn):
                    elsewhere = self._roomiest(name)
                    if elsewhere is not None:
                        self._put(name, elsewhere)
                    else:
                        self._make_room(name)

    def _put(self, name: str, node: str) -> None:
        """Place a camera, wherever it was."""
        if name in self._places:
            self._remove(name)
        self._places[name] = node
        self._at[node][name] = None
        self._used[node] = self._used[node].plus(self._needs[name])

    def _remove(self, name: str) -> None:
        node = self._places.pop(name)
        del self._at[node][name]
        self._used[node] = self._used[node].minus(self._needs[name])
