# SPDX-License-Identifier: AGPL-3.0-or-later
"""Groups and units: which widths are offered, what is tied, what is locked."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vision_line_compression.network.split_blocks import Halves
from vision_line_compression.prune.groups import (
    ChannelGroup,
    Member,
    NetworkStructure,
    candidate_widths,
    make_units,
)
from vision_line_compression.prune.settings import Budget, Neck, PruneSettings, StageCaps

CAPS = StageCaps(p1=0.5, p2=0.5, p3=0.5, p4=0.5, p5=0.5, head=0.5)


def group(name: str, channels: int = 32, writes: tuple[str, ...] = (), reads: tuple[str, ...] = ()) -> ChannelGroup:
    """Return a group written by `name` and `writes`."""
    sides = [(name, "out"), *((layer, "out") for layer in writes), *((layer, "in") for layer in reads)]
    members = tuple(Member(layer=layer, side=side, runs=((0, 0, channels),)) for layer, side in sides)
    return ChannelGroup(name=name, channels=channels, members=members)


def structure(halves: tuple[Halves, ...] = (), opaque: frozenset[str] = frozenset()) -> NetworkStructure:
    """Return a network of backbone 0-1, neck 2-3, head 4."""
    levels = {"model.0.conv": 1, "model.1.a.conv": 3, "model.1.b.conv": 3, "model.2.a.conv": 4, "model.3.a.conv": 3}
    return NetworkStructure(frozenset({2, 3}), 4, opaque, levels, halves)


def settings(neck: Neck = "free", head: bool = True) -> PruneSettings:
    """Return what may be touched."""
    return PruneSettings(budget=Budget(macs=0.5), neck=neck, head=head, caps=CAPS)


@given(st.integers(1, 600), st.sampled_from([8, 16, 32]), st.floats(0.0, 0.99))
def test_widths_keep_quantum_and_cap(channels: int, quantum: int, cap: float) -> None:
    """Widths ascend, are multiples of the quantum but for the present one, and lose no more than the cap."""
    widths = candidate_widths(channels, quantum, cap)

    assert list(widths) == sorted(set(widths))
    assert widths[-1] == channels
    assert all(width % quantum == 0 for width in widths[:-1])
    assert all(width >= min(quantum, channels) for width in widths)
    assert all(width >= (1.0 - cap) * channels - 1e-6 for width in widths)


@given(st.lists(st.booleans(), min_size=4, max_size=12))
def test_members_map_channels_of_the_group_to_those_of_the_layer(chosen: list[bool]) -> None:
    """A layer that reads the group twice, at two offsets, loses each chosen channel twice."""
    count = len(chosen)
    member = Member(layer="x", side="in", runs=((0, 5, count), (0, 100, count)))
    channels = member.channels_of(np.array(chosen))

    positions = np.flatnonzero(chosen)
    assert channels.tolist() == [*(positions + 5), *(positions + 100)]
    assert member.times(count) == 2


def test_halves_get_one_width() -> None:
    """The two convolutions of a split block form one unit."""
    groups = [group("model.1.a.conv"), group("model.0.conv"), group("model.1.b.conv")]
    units = make_units(groups, structure((Halves("model.1.a.conv", "model.1.b.conv"),)), settings())

    assert [[g.name for g in unit.groups] for unit in units] == [["model.1.a.conv", "model.1.b.conv"], ["model.0.conv"]]
    assert units[0].widths == (16, 24, 32)


def test_a_locked_half_locks_the_other() -> None:
    """What is written into an attention block stays, and so does the half that runs beside it."""
    groups = [group("model.1.a.conv"), group("model.1.b.conv", writes=("model.1.attn",))]
    pair = (Halves("model.1.a.conv", "model.1.b.conv"),)

    assert make_units(groups, structure(pair, frozenset({"model.1.attn"})), settings()) == ()


def test_counterpart_heads_are_tied() -> None:
    """The same layer of both heads gets one width; it counts as part of the head."""
    groups = [group("model.4.cv2.0.0.conv"), group("model.4.one2one_cv2.0.0.conv")]
    units = make_units(groups, structure(), settings())

    assert [len(unit.groups) for unit in units] == [2]
    assert units[0].stage == "head"
    assert make_units(groups, structure(), settings(head=False)) == ()


def test_the_finest_grid_decides_the_stage() -> None:
    """A group that is written at P3 and P4 counts as P3."""
    (unit,) = make_units([group("model.2.a.conv", writes=("model.3.a.conv",))], structure(), settings())

    assert unit.stage == "p3"


def test_the_neck_is_locked_as_asked() -> None:
    """`outputs` locks what leaves a neck layer, `whole` also what stays inside, `free` nothing."""
    inside = group("model.2.a.conv", reads=("model.2.b.conv",))
    leaving = group("model.3.a.conv", reads=("model.4.cv2.0.0.conv",))
    kept = {
        neck: [unit.name for unit in make_units([inside, leaving], structure(), settings(neck))]
        for neck in ("whole", "outputs", "free")
    }

    assert kept == {"whole": [], "outputs": ["model.2.a.conv"], "free": ["model.2.a.conv", "model.3.a.conv"]}


def test_narrow_groups_are_left_alone() -> None:
    """A group of one quantum offers no choice, so it is no unit."""
    assert make_units([group("model.1.a.conv", 8)], structure(), settings()) == ()
