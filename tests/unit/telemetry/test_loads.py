# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPUs' load: mean and peak over a run, what of it is worth a notice."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.ports import DeviceDescription, DeviceLoad, LogStatus
from vision_line.telemetry.alarms import plan_notices
from vision_line.telemetry.load_history import LoadFigure, LoadHistory
from vision_line.telemetry.metrics import ModelFacts, RunFacts, RunMetrics
from vision_line.telemetry.process import ProcessUsage
from vision_line.telemetry.summary import Summary, build_summary


def load(sm: int | None = 30, energy_j: float | None = 100.0, name: str = "cuda:0") -> DeviceLoad:
    return DeviceLoad(name, 1100, 12_288, sm, 50, 35.0, energy_j, 61, throttled=False)


def make_run() -> RunMetrics:
    device = DeviceDescription("cuda:0", "a GPU", "int8", ((192, 320),), 3, 32)
    facts = RunFacts("0.1.0", device, ModelFacts("pcb", "ab" * 32, "int8", ()), 1000.0, 5e8)
    return RunMetrics(facts, lambda: ProcessUsage(1.0, 2.0, 3.0))


@given(st.lists(st.integers(0, 100) | st.none(), min_size=1, max_size=30))
def test_mean_and_peak_are_those_of_the_samples(percents: list[int | None]) -> None:
    """A figure that is not reported does not count as zero."""
    history = LoadHistory()
    for percent in percents:
        history.note([load(percent)])
    (totals,) = history.totals()
    known = [percent for percent in percents if percent is not None]

    assert totals.samples == len(percents)
    assert totals.sm_percent == (pytest.approx(LoadFigure(sum(known) / len(known), max(known))) if known else None)


def test_energy_is_what_the_run_used() -> None:
    """The meter counts since the driver was loaded; a GPU without one has no figure."""
    history = LoadHistory()
    for energy_j in (7000.0, 7035.0, 7071.5):
        history.note([load(energy_j=energy_j), load(energy_j=None, name="cuda:1")])

    assert [totals.energy_j for totals in history.totals()] == [pytest.approx(71.5), None]


def test_gpus_are_in_snapshot_and_summary() -> None:
    """The newest sample is shown; means and peaks are in the public object, also of a GPU that fell silent."""
    run = make_run()
    run.device_loads([load(20), load(60, name="cuda:1")])
    run.device_loads([load(40)])
    summary = json.loads(build_summary(run.totals(1010.0)).model_dump_json())

    assert run.snapshot(1010.0, 5e8, LogStatus(True, "", 0, 0.0, 0, 0, 0)).devices == (load(40),)
    assert [gpu["name"] for gpu in summary["device_loads"]] == ["cuda:0", "cuda:1"]
    assert summary["device_loads"][0] == {
        "name": "cuda:0",
        "samples": 2,
        "memory_total_mb": 12_288,
        "memory_used_mb": {"mean": 1100.0, "max": 1100.0},
        "sm_percent": {"mean": 30.0, "max": 40.0},
        "decoder_percent": {"mean": 50.0, "max": 50.0},
        "power_w": {"mean": 35.0, "max": 35.0},
        "temperature_c": {"mean": 61.0, "max": 61.0},
        "energy_j": 0.0,
    }


def test_summaries_of_earlier_versions_can_be_read() -> None:
    """The key is new and optional."""
    summary = json.loads(build_summary(make_run().totals(1010.0)).model_dump_json())
    del summary["device_loads"]

    assert Summary.model_validate(summary).device_loads == []


@pytest.mark.parametrize(
    ("strained", "notices"),
    [
        (DeviceLoad("cuda:0", 1100, 12_288, temperature_c=89, throttled=False), ()),
        (DeviceLoad("cuda:0", 1100, 12_288, temperature_c=90), ("cuda:0: 90 °C",)),
        (DeviceLoad("cuda:0", 1100, 12_288, throttled=True), ("cuda:0: slowed down by heat",)),
        (
            DeviceLoad("cuda:1", 11_700, 12_288, temperature_c=84, throttled=True),
            ("cuda:1: slowed down by heat, 84 °C", "cuda:1: memory nearly full, 11700 of 12288 MB"),
        ),
    ],
)
def test_gpus_near_a_limit_are_reported(strained: DeviceLoad, notices: tuple[str, ...]) -> None:
    """Heat that slows it down, or soon will, and memory in which the next camera may not fit."""
    assert plan_notices((), None, loads=[load(), strained]) == notices
