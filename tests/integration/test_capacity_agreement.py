# SPDX-License-Identifier: AGPL-3.0-or-later
"""The capacity model agrees with the real scheduler's thread, run in virtual time on a simulated GPU.

Given the same phases both follow without chance, so that where a line has one steady state they must agree almost
exactly. Where padded batches give it several, start-up decides which is found, and only the typical run agrees.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import mean, median

import pytest
from benchmarks.virtual_time import START_S, draw_starts, run

from vision_line.capacity.constants import Codec
from vision_line.capacity.estimate import Scenario, estimate, pipeline
from vision_line.capacity.gpus import find_gpu
from vision_line.capacity.serving import solve
from vision_line.frames import DropCause

RTX_3060 = Scenario(find_gpu("RTX 3060"), 16, Codec.H264, (1920, 1080), 25.0)
HEVC = replace(RTX_3060, codec=Codec.HEVC)
SECONDS = 1.0
#: Agreement of mean latencies for the same phases: with one steady state, and typically with several.
TOLERANCE = 0.01
TYPICAL_TOLERANCE = 0.05
#: With fewer inspections than frames the phases of inspection are drawn apart: agreement of means over runs.
CAPPED_TOLERANCE = 0.15


def latencies(scenario: Scenario, seed: int) -> tuple[float, float]:
    """Return the mean latency by the model and of the run, for the same phases."""
    starts_s = draw_starts(scenario.cameras, seed)
    phases = [start_s * scenario.fps % 1 for start_s in starts_s]
    return solve(pipeline(scenario), [phases]).latency_s, run(pipeline(scenario), SECONDS, starts_s).mean_s


@pytest.mark.parametrize(
    "scenario",
    [
        replace(RTX_3060, cameras=1),
        RTX_3060,
        replace(RTX_3060, cameras=29),
        HEVC,
        replace(HEVC, cameras=32),
        replace(RTX_3060, model_cost=2.3),
    ],
    ids=["one camera", "16 H.264", "29 H.264", "16 HEVC", "32 HEVC, batches grow", "16 at 2.3 times the cost"],
)
def test_one_steady_state_agrees_almost_exactly(scenario: Scenario) -> None:
    """Mean latencies within 1 %, for every set of phases."""
    for seed in range(3):
        model_s, run_s = latencies(scenario, seed)

        assert model_s == pytest.approx(run_s, rel=TOLERANCE), seed


@pytest.mark.parametrize("cameras", [44, 52], ids=["load 0.84", "load 0.99"])
def test_near_the_engines_limit_the_typical_run_agrees(cameras: int) -> None:
    """The median ratio of mean latencies is within 5 % of 1."""
    pairs = [latencies(replace(HEVC, cameras=cameras), seed) for seed in range(5)]

    assert median(model_s / run_s for model_s, run_s in pairs) == pytest.approx(1.0, rel=TYPICAL_TOLERANCE)


def test_overload_loses_as_many_frames_as_the_model_says() -> None:
    """Six times the model's cost: two fifths of the frames are superseded, and latency stays bounded."""
    overloaded = replace(RTX_3060, model_cost=6.0)
    found = run(pipeline(overloaded), 4 * SECONDS, draw_starts(16, 0))
    means = solve(pipeline(overloaded))

    assert found.lost == pytest.approx(means.lost, abs=0.04)
    assert found.mean_s == pytest.approx(means.latency_s, rel=TYPICAL_TOLERANCE)
    assert found.dropped[DropCause.SUPERSEDED] > 100


def test_fewer_inspections_than_frames_agree_on_average() -> None:
    """A tenth of the engine's time, and latencies within 15 % over several runs."""
    scenario = replace(RTX_3060, inspect_fps=5.0)
    found = [run(pipeline(scenario), SECONDS, draw_starts(16, seed)) for seed in range(5)]
    means = solve(pipeline(scenario))

    assert mean(one.mean_s for one in found) == pytest.approx(means.latency_s, rel=CAPPED_TOLERANCE)
    assert mean(one.busy for one in found) == pytest.approx(means.busy, rel=0.05)


def test_the_largest_number_of_cameras_holds_and_one_more_does_not() -> None:
    """At the model's most cameras the run is far below 180 ms; with one more its decoder falls ever further behind."""
    most = estimate(RTX_3060).most_cameras
    fits = run(pipeline(replace(RTX_3060, cameras=most)), SECONDS, draw_starts(most, 1))
    falls = run(pipeline(replace(RTX_3060, cameras=most + 1)), 12 * SECONDS, draw_starts(most + 1, 1))

    assert fits.mean_s < 0.18
    assert fits.lost == 0.0
    assert fits.backlog_s < 1 / RTX_3060.fps
    # Each period brings (N x D - T) more than the decoder can do.
    growth_s = (12 + 1) * SECONDS * RTX_3060.fps * ((most + 1) / 748 - 1 / RTX_3060.fps)
    assert falls.backlog_s > growth_s


def test_a_run_is_the_same_on_any_machine() -> None:
    """Virtual time: equal starts give equal results, whatever else the machine does."""
    starts_s = draw_starts(16, 7)
    first, second = (run(pipeline(RTX_3060), SECONDS, starts_s) for _ in range(2))

    assert max(starts_s) < START_S
    assert first.latency_s == second.latency_s
    assert first.batches == second.batches
