# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pipeline's equations against the closed forms at both ends, and the laws every solution keeps."""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import settings as run_settings
from hypothesis import strategies as st

from vision_line.capacity.serving import ServingPipeline, largest_rate, mean_wait_s, solve


def line(setup_s: float, image_s: float, **changes: float) -> ServingPipeline:
    """Return 16 cameras at 25 fps on one decoder, and an engine whose times are a line."""
    base = ServingPipeline(16, 25.0, 25.0, 1, 1e-3, lambda n: setup_s + n * image_s, 32, 2, 1e-4)
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_lone_camera_never_waits_for_a_decoder() -> None:
    """With no others there is no wait, with one other its work at a chance moment: D^2 / 2T."""
    assert mean_wait_s(1, 0.04, 0.01) == 0.0
    assert mean_wait_s(2, 0.04, 0.01) == pytest.approx(0.01**2 / 2 / 0.04)


def test_many_light_cameras_wait_as_in_an_m_d_1_queue() -> None:
    """Load x D / (2 x (1 - load)) is the limit of ever more cameras."""
    decode_s = 0.6 * 0.04 / 5000

    assert mean_wait_s(5000, 0.04, decode_s) == pytest.approx(0.6 * decode_s / 2 / 0.4, rel=0.01)


def test_a_decoder_that_cannot_keep_up_has_no_mean_wait() -> None:
    """At a load of 1 and more the wait grows for ever."""
    assert mean_wait_s(40, 0.04, 1e-3) == inf
    assert mean_wait_s(39, 0.04, 1e-3) < 0.04


def drawn(cameras: int, sets: int) -> list[list[float]]:
    """Return sets of phases."""
    chance = random.Random(3)
    return [[chance.random() for _ in range(cameras)] for _ in range(sets)]


@pytest.mark.parametrize(("cameras", "sets"), [(8, 200), (20, 150), (35, 60)])
def test_wait_for_the_decoder_is_the_closed_form(cameras: int, sets: int) -> None:
    """The mean over drawn phases comes close to the exact mean over all, which is used where none are given."""
    exact_s = mean_wait_s(cameras, 0.04, 1e-3)

    assert solve(line(0.0, 1e-5, cameras=cameras), drawn(cameras, sets)).decoder_wait_s == pytest.approx(
        exact_s, rel=0.1
    )
    assert solve(line(0.0, 1e-5, cameras=cameras)).decoder_wait_s == pytest.approx(exact_s)


def test_two_cameras_wait_as_the_closed_form_says() -> None:
    """Over all differences of phase, in fine steps."""
    means = solve(line(0.0, 1e-5, cameras=2), [[0.0, (step + 0.5) / 1000] for step in range(1000)])

    assert means.decoder_wait_s == pytest.approx(mean_wait_s(2, 0.04, 1e-3), rel=0.01)


@pytest.mark.parametrize("engine_s", [0.4e-3, 0.9e-3, 1.4e-3, 2.0e-3])
def test_light_load_waits_once_before_the_slower_server(engine_s: float) -> None:
    """Decoder and engine in line: all waiting together is that before the slower one alone (Friedman 1965)."""
    means = solve(line(engine_s, 0.0, cameras=15, max_batch=1, host_s=0.0), drawn(15, 250))
    waits_s = means.decoder_wait_s + means.mailbox_s + means.slot_s

    assert waits_s == pytest.approx(mean_wait_s(15, 0.04, max(1e-3, engine_s)), rel=0.1)
    assert means.lost == 0.0


@pytest.mark.parametrize("cameras", [16, 40, 80])
def test_overload_costs_frames_and_not_latency(cameras: int) -> None:
    """Full batches wait for one and run for one; frames are half a period old when taken."""
    pipeline = line(0.0, 5e-3, cameras=cameras, decoders=cameras, max_batch=16, host_s=0.0)
    means = solve(pipeline)

    assert means.batch == pytest.approx(16, rel=0.02)
    assert means.latency_s == pytest.approx(1e-3 + 0.02 + 2 * 0.08, rel=0.05)
    assert means.lost == pytest.approx(1 - 200 / (25 * cameras), abs=0.03)


def test_between_the_ends_a_batch_is_what_comes_during_one() -> None:
    """N = n / T x S(n): with setup u and v for each image, n = u x N / (T - v x N)."""
    pipeline = line(4e-3, 0.6e-3, cameras=50, decoders=50, host_s=0.0)
    means = solve(pipeline)

    assert means.batch == pytest.approx(4e-3 * 50 / (0.04 - 0.6e-3 * 50), rel=0.05)
    assert means.busy == pytest.approx(1.0, abs=0.02)


def test_fewer_inspections_than_frames_are_had_at_their_rate() -> None:
    """The engine works for the inspections that are wanted, and for no more."""
    means = solve(line(2e-3, 0.0, inspect_fps=5.0))

    assert means.lost <= 0.01
    assert means.busy == pytest.approx(16 * 5 * 2e-3, rel=0.03)


def test_given_phases_give_the_exact_waits() -> None:
    """Two cameras in phase: the second waits for the first one's decoding, then for its engine time."""
    means = solve(line(3e-3, 0.0, cameras=2, host_s=0.0), [[0.5, 0.5]])

    assert means.decoder_wait_s == pytest.approx(0.5e-3)
    assert means.slot_s == pytest.approx((3e-3 - 1e-3) / 2)
    assert means.latency_s == pytest.approx(0.5e-3 + 1e-3 + 1e-3 + 3e-3)


def test_largest_rate_is_bounded_by_the_cameras() -> None:
    """A batch holds one frame a camera: few cameras cannot fill a large one."""
    assert largest_rate(4, lambda n: 1e-3 + n * 1e-3, 32) == pytest.approx(4 / 5e-3)
    assert largest_rate(100, lambda n: 1e-3 + n * 1e-3, 32) == pytest.approx(32 / 33e-3)


@run_settings(max_examples=25)
@given(
    cameras=st.integers(1, 40),
    fps=st.sampled_from([5.0, 12.5, 30.0]),
    setup_ms=st.floats(0.05, 5),
    image_ms=st.floats(0.05, 3),
    max_batch=st.sampled_from([1, 4, 32]),
    phases=st.randoms(use_true_random=False),
)
def test_every_solution_keeps_the_laws(
    cameras: int, fps: float, setup_ms: float, image_ms: float, max_batch: int, phases: random.Random
) -> None:
    """Nothing is negative, the engine works at most all the time, batches and losses stay within their bounds."""
    pipeline = ServingPipeline(
        cameras, fps, fps, 2, 1e-4, lambda n: (setup_ms + n * image_ms) / 1e3, max_batch, 2, 1e-5
    )
    means = solve(pipeline, [[phases.random() for _ in range(cameras)]])

    waits = (means.decoder_wait_s, means.mailbox_s, means.slot_s)
    assert min(waits) >= -1e-9
    assert means.mailbox_s <= 1 / fps + 1e-6
    assert 1 <= means.batch <= min(cameras, max_batch)
    assert means.busy <= 1.0 + 2 * pipeline.batch_s(max_batch) / (8 / fps)
    assert 0.0 <= means.lost < 1.0
