# SPDX-License-Identifier: AGPL-3.0-or-later
"""The artwork of one bare board: nets routed on a grid, pads, vias, pours and silkscreen, as plain geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Node = tuple[int, int]

# Eight headings, 45 degrees apart, as (column, row) steps.
HEADINGS: tuple[Node, ...] = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
FREE = -1
EDGE_PX = 11.0


@dataclass(frozen=True, slots=True)
class CopperTrack:
    """One straight piece of trace between two grid nodes; coordinates and width in board pixels."""

    start: Point
    end: Point
    width: float


@dataclass(frozen=True, slots=True)
class Disc:
    """A round pad or via; `drill` is the radius of its hole, 0 for none."""

    centre: Point
    radius: float
    drill: float


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of copper, bare (a pad) or under the solder mask (a pour)."""

    xyxy: tuple[float, float, float, float]
    bare: bool


@dataclass(frozen=True, slots=True)
class Label:
    """A reference designator on the silkscreen."""

    text: str
    origin: Point


@dataclass(frozen=True, slots=True)
class BoardLayout:
    """Everything that is on a good board; coordinates in board pixels, y down."""

    size_wh: tuple[int, int]
    pitch: float
    tracks: tuple[CopperTrack, ...]
    discs: tuple[Disc, ...]
    blocks: tuple[Block, ...]
    outlines: tuple[tuple[float, float, float, float], ...]
    labels: tuple[Label, ...]
    mounts: tuple[Disc, ...]


def plan_layout(rng: np.random.Generator, size_wh: tuple[int, int]) -> BoardLayout:
    """Route one board of `size_wh` pixels; the same generator state gives the same board."""
    sheet = _Sheet(rng, size_wh)
    sheet.add_mounts()
    for _ in range(int(rng.integers(1, 3))):
        sheet.add_pour()
    for _ in range(int(rng.integers(1, 3))):
        sheet.add_chip()
    for _ in range(int(rng.integers(1, 4))):
        sheet.add_passive()
    sheet.add_nets(fill=float(rng.uniform(0.58, 0.74)))
    return sheet.layout()


@dataclass(slots=True)
class _Sheet:
    """The grid while it fills: which net holds each node, and what was drawn so far."""

    rng: np.random.Generator
    size_wh: tuple[int, int]
    pitch: float = 0.0
    columns: int = 0
    rows: int = 0
    taken: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 0), np.int32))
    nets: int = 0
    tracks: list[CopperTrack] = field(default_factory=list)
    discs: list[Disc] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    outlines: list[tuple[float, float, float, float]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    mounts: list[Disc] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pitch = float(self.rng.uniform(13.5, 17.0))
        self.columns = int((self.size_wh[0] - 2 * EDGE_PX) // self.pitch)
        self.rows = int((self.size_wh[1] - 2 * EDGE_PX) // self.pitch)
        self.taken = np.full((self.rows, self.columns), FREE, np.int32)

    def layout(self) -> BoardLayout:
        return BoardLayout(
            size_wh=self.size_wh,
            pitch=self.pitch,
            tracks=tuple(self.tracks),
            discs=tuple(self.discs),
            blocks=tuple(self.blocks),
            outlines=tuple(self.outlines),
            labels=tuple(self.labels),
            mounts=tuple(self.mounts),
        )

    def at(self, column: float, row: float) -> Point:
        """Give the pixel position of a (possibly fractional) grid node."""
        left = (self.size_wh[0] - (self.columns - 1) * self.pitch) / 2
        top = (self.size_wh[1] - (self.rows - 1) * self.pitch) / 2
        return left + column * self.pitch, top + row * self.pitch

    def add_mounts(self) -> None:
        last_column, last_row = self.columns - 1, self.rows - 1
        for column, row in ((0, 0), (last_column, 0), (0, last_row), (last_column, last_row)):
            self._claim(column - 1, row - 1, column + 1, row + 1)
            self.mounts.append(Disc(self.at(column, row), self.pitch * 0.62, self.pitch * 0.38))

    def add_pour(self) -> None:
        """Place a filled area under the solder mask, joined to nothing."""
        spot = self._free_spot(int(self.rng.integers(3, 6)), int(self.rng.integers(2, 5)))
        if spot is not None:
            column, row, width, height = spot
            self._claim(column, row, column + width - 1, row + height - 1)
            self.blocks.append(self._block(column, row, column + width - 1, row + height - 1, 0.36, bare=False))

    def add_chip(self) -> None:
        """Place a two-sided footprint and lead a trace out of each pad."""
        pins, body = int(self.rng.integers(3, 7)), int(self.rng.integers(2, 4))
        spot = self._free_spot(body + 2, pins)
        if spot is None:
            return
        column, row, width, _ = spot
        self._claim(column, row, column + width - 1, row + pins - 1)
        left, top = self.at(column + 0.8, row - 0.45)
        right, bottom = self.at(column + width - 1.8, row + pins - 0.55)
        self.outlines.append((left, top, right, bottom))
        self._label("U", self.at(column + 1.0, row + pins / 2 - 0.3))
        for pin in range(pins):
            for edge, heading in ((column, 4), (column + width - 1, 0)):
                self._pad(edge, row + pin, 0.44, 0.3)
                self._lead_out((edge, row + pin), heading)

    def add_passive(self) -> None:
        """Place a two-pad part with big pads, one trace out of each."""
        spot = self._free_spot(4, 2)
        if spot is None:
            return
        column, row, _, _ = spot
        self._claim(column, row, column + 3, row + 1)
        left, top = self.at(column - 0.45, row - 0.3)
        right, bottom = self.at(column + 3.45, row + 1.3)
        self.outlines.append((left, top, right, bottom))
        for pad, edge, heading in ((column + 0.5, column, 4), (column + 2.5, column + 3, 0)):
            self._pad(pad, row + 0.5, 0.68, 0.62)
            self._lead_out((edge, row), heading, joined=self.at(pad, row))
        self._label("RCL"[int(self.rng.integers(3))], self.at(column, row - 0.45))

    def add_nets(self, fill: float) -> None:
        """Route free nets until the share `fill` of the grid is used or room runs out."""
        for _ in range(16 * self.columns):
            if np.mean(self.taken != FREE) >= fill:
                return
            node = (int(self.rng.integers(self.columns)), int(self.rng.integers(self.rows)))
            if self.taken[node[1], node[0]] == FREE:
                self._free_net(node)

    def _free_net(self, node: Node) -> None:
        self.nets += 1
        self.taken[node[1], node[0]] = self.nets
        path = self._walk(node, 2 * int(self.rng.integers(4)), self.nets)
        if len(path) < 3:
            return
        self._trace(path)
        self._terminal(path[0])
        self._terminal(path[-1])

    def _lead_out(self, node: Node, heading: int, joined: Point | None = None) -> None:
        self.nets += 1
        path = self._walk(node, heading, self.nets)
        if len(path) < 3:
            return
        width = self._trace(path)
        if joined is not None:
            self.tracks.append(CopperTrack(joined, self.at(*node), width))
        self._terminal(path[-1])

    def _trace(self, path: list[Node]) -> float:
        width = self.pitch * float(self.rng.choice((0.38, 0.44, 0.5)))
        corners = [path[0]]
        for before, node, after in zip(path, path[1:], path[2:], strict=False):
            if (node[0] - before[0], node[1] - before[1]) != (after[0] - node[0], after[1] - node[1]):
                corners.append(node)
        corners.append(path[-1])
        for start, end in pairwise(corners):
            self.tracks.append(CopperTrack(self.at(*start), self.at(*end), width))
        return width

    def _terminal(self, node: Node) -> None:
        drilled = self.rng.random() < 0.7
        radius = self.pitch * float(self.rng.uniform(0.33, 0.38))
        self.discs.append(Disc(self.at(*node), radius, radius * 0.5 if drilled else 0.0))

    def _walk(self, node: Node, heading: int, net: int) -> list[Node]:
        """Walk from `node` with few turns of 45 degrees, claiming nodes, until blocked or long enough."""
        path = [node]
        for _ in range(int(self.rng.integers(5, 22))):
            turns = (0, 1, -1) if self.rng.random() < 0.84 else (1, -1, 0)
            if self.rng.random() < 0.5:
                turns = (turns[0], turns[2], turns[1])
            options = [(heading + turn) % 8 for turn in turns]
            choice = next((option for option in options if self._open_step(path[-1], option, net)), None)
            if choice is None:
                break
            heading = choice
            path.append(self._step(path[-1], heading, net))
        return path

    def _open_step(self, node: Node, heading: int, net: int) -> bool:
        step = HEADINGS[heading]
        column, row = node[0] + step[0], node[1] + step[1]
        if not (0 <= column < self.columns and 0 <= row < self.rows) or self.taken[row, column] != FREE:
            return False
        # A diagonal passes between its two side nodes: both must be free, or the gap would be too narrow.
        sides = (self.taken[node[1], column], self.taken[row, node[0]])
        return 0 in step or all(side in (FREE, net) for side in sides)

    def _step(self, node: Node, heading: int, net: int) -> Node:
        step = HEADINGS[heading]
        column, row = node[0] + step[0], node[1] + step[1]
        self.taken[row, column] = net
        if 0 not in step:
            self.taken[node[1], column] = self.taken[row, node[0]] = net
        return column, row

    def _pad(self, column: float, row: float, half_width: float, half_height: float) -> None:
        x, y = self.at(column, row)
        dx, dy = half_width * self.pitch, half_height * self.pitch
        self.blocks.append(Block((x - dx, y - dy, x + dx, y + dy), bare=True))

    def _block(self, left: float, top: float, right: float, bottom: float, grow: float, *, bare: bool) -> Block:
        x0, y0 = self.at(left - grow, top - grow)
        x1, y1 = self.at(right + grow, bottom + grow)
        return Block((x0, y0, x1, y1), bare)

    def _label(self, prefix: str, origin: Point) -> None:
        self.labels.append(Label(f"{prefix}{int(self.rng.integers(1, 90))}", origin))

    def _claim(self, left: int, top: int, right: int, bottom: int) -> None:
        self.nets += 1
        self.taken[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = self.nets

    def _free_spot(self, width: int, height: int) -> tuple[int, int, int, int] | None:
        """Find a free rectangle of nodes with one free node around it, or None after some tries."""
        if width + 3 > self.columns or height + 3 > self.rows:
            return None
        for _ in range(30):
            column = int(self.rng.integers(1, self.columns - width))
            row = int(self.rng.integers(1, self.rows - height))
            around = self.taken[row - 1 : row + height + 1, column - 1 : column + width + 1]
            if np.all(around == FREE):
                return column, row, width, height
        return None
