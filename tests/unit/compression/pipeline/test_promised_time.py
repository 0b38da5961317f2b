# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a plan with a budget of time expects stands in the report beside what was measured."""

from __future__ import annotations

from pathlib import Path

from vision_line_compression.evaluate.results import Speed
from vision_line_compression.pipeline.steps.report import promised_time
from vision_line_compression.pipeline.steps.speed import Speeds
from vision_line_compression.prune.latency import LatencyTable
from vision_line_compression.prune.plan import PlannedCost, PruningPlan
from vision_line_compression.prune.settings import Budget, PruneSettings

MEASURED = Speeds(
    speeds={
        "int8-max": Speed(
            device="a processor", input_shape_hw=(64, 64), latency_p50_ms=5.5, latency_p99_ms=6.0, images_per_s=200.0,
            rounds=(200.0,), memory_mb=100.0, engine_images_per_s=240.0, engine_rounds=(240.0,),
        )
    },
    ratios={"int8-max": 3.0},
    engine_ratios={"int8-max": 3.4},
)  # fmt: skip


def plan(budget: Budget) -> PruningPlan:
    """Return a plan that expects 4 of 10 ms."""
    return PruningPlan(
        parent_sha256="0" * 64,
        family="v8",
        settings=PruneSettings(budget=budget),
        groups=(),
        costs={"latency": PlannedCost(reference=10.0, planned=4.0, allowed=4.1)},
    )


def table(folder: Path) -> Path:
    """Write a table of a box."""
    LatencyTable(size_hw=(64, 64), target="the box", surfaces=(), precision="int8").write(folder / "latency.json")
    return folder / "latency.json"


def test_the_expectation_stands_beside_the_measurement(tmp_path: Path) -> None:
    """With what each is of."""
    (remark,) = promised_time(plan(Budget(latency_ms=4.1)), table(tmp_path), MEASURED, "int8-max")

    assert remark == (
        "The plan expects 4 ms an image of the network alone on the box; measured here, on a processor: 3.40 times the "
        "float parent's throughput, and 5.5 ms an image in the application."
    )


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    """With the key that measures it; and a budget of operations promises no time."""
    (remark,) = promised_time(plan(Budget(speedup=3.0)), table(tmp_path), None, "int8-max")

    assert "was not measured, for want of evaluate.speed_s" in remark
    assert list(promised_time(plan(Budget(macs=0.4)), table(tmp_path), MEASURED, "int8-max")) == []
