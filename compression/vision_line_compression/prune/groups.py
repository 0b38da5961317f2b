# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which channels belong together: groups of coupled layers, and units of groups that must keep equal widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vision_line_compression.files import FrozenModel
from vision_line_compression.network.split_blocks import Halves
from vision_line_compression.prune.settings import PruneSettings, Stage


class Member(FrozenModel):
    """One side of one layer that loses channels together with its group.

    `runs` are triples (first channel of the group, first channel of the layer, count): which of the layer's channels
    go with which of the group's. A layer that reads the same tensor four times has four runs.
    """

    layer: str
    side: Literal["in", "out"]
    runs: tuple[tuple[int, int, int], ...]

    def channels_of(self, chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the layer's channels that belong to the group's `chosen` (group channels,) ones."""
        parts = [layer + np.flatnonzero(chosen[root : root + count]) for root, layer, count in self.runs]
        return np.sort(np.concatenate(parts))

    def times(self, channels: int) -> int:
        """Return how often each of the group's `channels` occurs in this layer."""
        return sum(count for _, _, count in self.runs) // channels


class ChannelGroup(FrozenModel):
    """Channels that can only be removed together; named after the first layer that writes them."""

    name: str
    channels: int
    members: tuple[Member, ...]

    @property
    def written(self) -> tuple[str, ...]:
        """Name the layers (convolutions and normalisations) that write these channels."""
        return tuple(member.layer for member in self.members if member.side == "out")


@dataclass(frozen=True, slots=True)
class ChannelUnit:
    """Groups that get one width; the planner decides about units. `widths` ascend and end with the present one."""

    groups: tuple[ChannelGroup, ...]
    stage: Stage
    widths: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name the unit after its first group."""
        return self.groups[0].name

    @property
    def channels(self) -> int:
        """Return the present width."""
        return self.groups[0].channels


@dataclass(frozen=True, slots=True)
class NetworkStructure:
    """What is fixed about a network: positions of its parts and what must not change.

    `neck` and `head` are indices of top-level layers; `opaque` names modules that are kept as they are; `levels` maps
    each convolution to the halvings of the grid between the input and its output; `halves` must keep equal widths.
    """

    neck: frozenset[int]
    head: int
    opaque: frozenset[str]
    levels: dict[str, int]
    halves: tuple[Halves, ...]


def make_units(
    groups: Sequence[ChannelGroup], structure: NetworkStructure, settings: PruneSettings
) -> tuple[ChannelUnit, ...]:
    """Tie the groups that need equal widths and drop those that must not change.

    Tied are the two halves of a split block and the same layer of the one-to-many and the one-to-one head; a tie with
    a locked group locks the other. Widths are multiples of the channel multiple (or the present width).
    """
    locked = {group.name for group in groups if _is_locked(group, structure, settings)}
    units = []
    for members in _tied(groups, structure):
        if any(group.name in locked for group in members) or len({group.channels for group in members}) > 1:
            continue
        stage = _stage(members, structure)
        widths = candidate_widths(members[0].channels, settings.quantum, settings.cap(stage))
        if len(widths) > 1:
            units.append(ChannelUnit(members, stage, widths))
    return tuple(units)


def candidate_widths(channels: int, multiple: int, cap: float) -> tuple[int, ...]:
    """Return the widths that may be kept, ascending: multiples of `multiple` down to (1 - cap) · channels, and all.

    At least `multiple`: a group is narrowed, never removed.
    """
    lowest = max(multiple, int(np.ceil((1.0 - cap) * channels / multiple - 1e-9)) * multiple)
    return (*range(lowest, channels, multiple), channels)


def _is_locked(group: ChannelGroup, structure: NetworkStructure, settings: PruneSettings) -> bool:
    touched = {member.layer for member in group.members}
    if touched & structure.opaque:
        return True
    written = {_top_level(layer) for layer in group.written}
    if structure.head in written and not settings.head:
        return True
    if settings.neck == "free" or not written & structure.neck:
        return False
    return settings.neck == "whole" or _leaves(group, written & structure.neck)


def _leaves(group: ChannelGroup, layers: set[int]) -> bool:
    """Say whether channels written in one of `layers` are read or carried on by another top-level layer."""
    return any({_top_level(member.layer) for member in group.members} - {layer} for layer in layers)


def _tied(groups: Sequence[ChannelGroup], structure: NetworkStructure) -> list[tuple[ChannelGroup, ...]]:
    """Return the groups in their order, tied ones together (transitive)."""
    position = {layer: index for index, group in enumerate(groups) for layer in group.written}
    leader = list(range(len(groups)))
    for first, second in _ties(position, structure):
        low, high = sorted((leader[position[first]], leader[position[second]]))
        leader = [low if index == high else index for index in leader]
    owned = list(zip(groups, leader, strict=True))
    return [tuple(group for group, own in owned if own == index) for index in sorted(set(leader))]


def _ties(position: dict[str, int], structure: NetworkStructure) -> list[tuple[str, str]]:
    pairs = [(pair.passed, pair.worked) for pair in structure.halves]
    counterpart_of = {layer.replace(".one2one_", "."): layer for layer in position if ".one2one_" in layer}
    pairs.extend(counterpart_of.items())
    return [pair for pair in pairs if pair[0] in position and pair[1] in position]


def _stage(groups: tuple[ChannelGroup, ...], structure: NetworkStructure) -> Stage:
    layers = [layer for group in groups for layer in group.written if layer in structure.levels]
    outside = [structure.levels[layer] for layer in layers if _top_level(layer) != structure.head]
    if not outside:
        return "head"
    stages: tuple[Stage, ...] = ("p1", "p2", "p3", "p4", "p5")
    return stages[min(max(min(outside), 1), len(stages)) - 1]


def _top_level(layer: str) -> int:
    """Return 4 for "model.4.cv1.conv"."""
    return int(layer.split(".")[1])
