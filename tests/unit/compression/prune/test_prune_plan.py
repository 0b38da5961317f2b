# SPDX-License-Identifier: AGPL-3.0-or-later
"""Settings, plan files, the latency table and the chart."""

from __future__ import annotations

from pathlib import Path
from xml.dom.minidom import parseString

import pytest
from pydantic import ValidationError

from vision_line.errors import ConfigError
from vision_line_compression.prune.groups import ChannelGroup, Member
from vision_line_compression.prune.latency import (
    ConvolutionKind,
    LatencySurface,
    LatencyTable,
    kind_of,
    unsteady,
    with_network,
)
from vision_line_compression.prune.plan import PlannedCost, PlannedGroup, PruningPlan, plan_bars, write_plot
from vision_line_compression.prune.settings import Budget, PruneSettings
from vision_line_compression.prune.structure import Convolution

LAYER = Convolution("model.3.conv", (3, 3), 2, False, 3, (16, 32))


def make_plan() -> PruningPlan:
    """Return a plan of two groups."""
    groups = []
    for name, kept in (("model.10.conv", range(8)), ("model.3.conv", range(4, 16))):
        members = (
            Member(layer=name, side="out", runs=((0, 0, 16),)),
            Member(layer=name.replace("conv", "bn"), side="out", runs=((0, 0, 16),)),
        )
        group = ChannelGroup(name=name, channels=16, members=members)
        groups.append(PlannedGroup(unit=name, stage="p3", group=group, kept=tuple(kept)))
    return PruningPlan(
        parent_sha256="0" * 64,
        family="v8",
        settings=PruneSettings(budget=Budget(macs=0.4)),
        groups=tuple(groups),
        costs={
            "params": PlannedCost(reference=200, planned=90),
            "macs": PlannedCost(reference=100, planned=40, allowed=40),
        },
    )


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    """What was written is read; the removed channels follow from the kept ones."""
    plan = make_plan()
    plan.write(tmp_path / "plan.json")

    assert PruningPlan.read(tmp_path / "plan.json") == plan
    assert plan.groups[1].removed.tolist() == [True] * 4 + [False] * 12
    assert plan.costs["params"].share == pytest.approx(0.45)
    assert plan.complexity.macs == 40


def test_every_fault_of_a_plan_file_is_named(tmp_path: Path) -> None:
    """A missing file, and each wrong key with its place."""
    with pytest.raises(ConfigError, match=r"absent\.json"):
        PruningPlan.read(tmp_path / "absent.json")
    make_plan().write(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    (tmp_path / "plan.json").write_text(text.replace('"v8"', '"v7"').replace('"l2"', '"luck"'))
    with pytest.raises(ConfigError) as refusal:
        PruningPlan.read(tmp_path / "plan.json")

    assert len(refusal.value.problems) == 2
    assert "settings.importance" in str(refusal.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget": {}},
        {"budget": {"macs": 0.0}},
        {"budget": {"macs": 1.5}},
        {"budget": {"flops": 0.5}},
        {"budget": {"latency_ms": 0.0}},
        {"budget": {"speedup": 0.9}},
        {"budget": {"macs": 0.5}, "quantum": 12},
        {"budget": {"macs": 0.5}, "neck": "some"},
        {"budget": {"macs": 0.5}, "size_hw": (640, 650)},
        {"budget": {"macs": 0.5}, "caps": {"p1": 1.0}},
        {"budget": {"macs": 0.5}, "probes": (0.0,)},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    """Shares, quanta, names and sizes are checked before anything runs."""
    with pytest.raises(ValidationError):
        PruneSettings.model_validate(wrong)


def table() -> LatencyTable:
    """Return a table with one measured kind."""
    kind = ConvolutionKind(kernel_hw=(3, 3), stride=2, depthwise=False, grid_hw=(8, 12))
    surface = LatencySurface(kind=kind, channels_in=(8, 16), channels_out=(8, 32), ms=((1.0, 4.0), (2.0, 8.0)))
    return LatencyTable(size_hw=(64, 96), target="drawn", surfaces=(surface,))


def test_times_between_measured_channels_are_interpolated() -> None:
    """Bilinear inside the lattice, the edge's value outside."""
    price = table().price()

    assert price(LAYER, 8, 8) == 1.0
    assert price(LAYER, 16, 32) == 8.0
    assert price(LAYER, 12, 20) == pytest.approx((1 + 4 + 2 + 8) / 4)
    assert price(LAYER, 4, 4) == 1.0
    assert price(LAYER, 64, 64) == 8.0


def test_prices_add_up_to_the_whole_networks_time() -> None:
    """What lies between the convolutions is shared among them; the float time is what a speed-up refers to."""
    whole = with_network(table(), [LAYER, LAYER], float_ms=30.0, int8_ms=20.0)

    assert sum(whole.price()(LAYER, *LAYER.channels) for _ in range(2)) == pytest.approx(20.0)
    assert whole.float_ms() == 30.0
    with pytest.raises(ConfigError, match="measure it anew"):
        table().float_ms()


def test_a_busy_machine_is_noticed() -> None:
    """By rounds that differ: nobody sees from the table alone that its times are another program's."""
    assert unsteady([10.0, 10.4, 11.4]) is None
    assert "10 to 12 ms in 3 rounds: something else runs" in (unsteady([10.0, 12.0, 10.1]) or "")


def test_an_unmeasured_kind_is_an_error() -> None:
    """A table of another network is not guessed from."""
    other = Convolution("model.4.conv", (1, 1), 1, False, 3, (16, 32))

    assert kind_of(other, (64, 96)) != table().surfaces[0].kind
    with pytest.raises(ConfigError, match=r"model\.4\.conv"):
        table().price()(other, 8, 8)


def test_the_chart_shows_every_convolution_in_order(tmp_path: Path) -> None:
    """One bar for each convolution, sorted by layer number, with kept and present channels; valid XML."""
    plan = make_plan()
    write_plot(plan, tmp_path / "plan.svg")
    text = (tmp_path / "plan.svg").read_text()

    assert [bar.name for bar in plan_bars(plan)] == ["3", "10"]
    assert len(parseString(text).getElementsByTagName("rect")) == 1 + 6 + 2 * 2  # noqa: S318 - our own text
    assert "12 / 16" in text
    assert "macs 40.0%" in text
