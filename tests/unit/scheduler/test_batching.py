# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plan: fair, bounded in age, complete, and one shape a batch."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.frames import OWN_MODEL
from vision_line.pacing import next_turn
from vision_line.ports import ShapeHW
from vision_line.scheduler.batching import NO_SHAPE, BatchPlan, Ready, plan_batch

SHAPES = ((192, 320), (256, 320), (320, 192))
NOW = 1000.0

ready_lists = st.lists(
    st.builds(
        Ready,
        camera=st.integers(0, 63),
        captured_s=st.floats(NOW - 2, NOW),
        shape_hw=st.sampled_from(SHAPES),
        last_turn=st.integers(-1, 1000),
        not_before_s=st.one_of(st.just(-inf), st.floats(NOW - 1, NOW + 1)),
        max_staleness_s=st.floats(0.01, 1),
        capped=st.booleans(),
        model=st.sampled_from(("", "another")),
    ),
    max_size=64,
    unique_by=lambda item: item.camera,
)


@given(ready_lists, st.integers(1, 32), st.floats(0, 0.1))
def test_every_frame_has_exactly_one_fate(ready: list[Ready], max_batch: int, fill_s: float) -> None:
    """Each is in the batch, stale, early, or stays; stale is never inspected; a batch holds one shape of one model."""
    plan = plan_batch(NOW, ready, max_batch=max_batch, fill_s=fill_s)

    by_camera = {item.camera: item for item in ready}
    named = plan.batch + plan.stale + plan.early
    assert len(set(named)) == len(named)
    assert set(named) <= set(by_camera)
    assert len(plan.batch) <= max_batch
    assert len({kind_of(by_camera[camera]) for camera in plan.batch}) <= 1
    for item in ready:
        assert (item.camera in plan.stale) == (NOW - item.captured_s > item.max_staleness_s)
        if item.camera in plan.batch:
            assert item.not_before_s <= NOW


@given(ready_lists, st.integers(1, 32))
def test_nobody_who_waits_was_served_before_somebody_who_goes(ready: list[Ready], max_batch: int) -> None:
    """Those picked are the least recently inspected of their model and shape, and the first of all is among them."""
    plan = plan_batch(NOW, ready, max_batch=max_batch)

    due = [i for i in ready if i.camera not in plan.stale and i.not_before_s <= NOW]
    picked = [i for i in due if i.camera in plan.batch]
    assert bool(due) == bool(picked)
    if due:
        left = [i for i in due if i not in picked and kind_of(i) == kind_of(picked[0])]
        assert min(i.last_turn for i in due) == min(i.last_turn for i in picked)
        assert all(p.last_turn <= i.last_turn for p in picked for i in left)


@given(ready_lists, st.floats(0, 0.1))
def test_batches_of_one_frame_need_neither_shapes_nor_models(ready: list[Ready], fill_s: float) -> None:
    """The scheduler does not ask for them then, and the plan is the same."""
    alike = [item._replace(shape_hw=NO_SHAPE, model=OWN_MODEL) for item in ready]
    assert plan_batch(NOW, alike, max_batch=1, fill_s=fill_s) == plan_batch(NOW, ready, max_batch=1, fill_s=fill_s)


@given(ready_lists, st.integers(2, 32), st.floats(0.001, 0.1))
def test_waiting_for_a_fuller_batch_ends_in_time(ready: list[Ready], max_batch: int, fill_s: float) -> None:
    """A plan that waits says until when, and at that moment the batch goes, however small."""
    plan = plan_batch(NOW, ready, max_batch=max_batch, fill_s=fill_s)
    due = [i for i in ready if i.camera not in plan.stale and i.not_before_s <= NOW]
    if due and not plan.batch:
        assert NOW < plan.again_s <= min(i.captured_s for i in due if kind_of(i) == kind_of_first(due)) + fill_s
        assert plan_batch(plan.again_s, [i._replace(max_staleness_s=inf) for i in ready], max_batch=max_batch).batch


def kind_of_first(due: list[Ready]) -> tuple[str, ShapeHW]:
    return kind_of(min(due, key=lambda i: (i.last_turn, i.captured_s, i.camera)))


def kind_of(item: Ready) -> tuple[str, ShapeHW]:
    return item.model, item.shape_hw


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 30))
def test_no_camera_starves(cameras: int, max_batch: int, rounds: int) -> None:
    """When all cameras always have a frame, their counts never differ by more than one."""
    counts = serve([SHAPES[0]] * cameras, max_batch, rounds * cameras)

    assert max(counts) - min(counts) <= 1


def test_mixed_shapes_take_turns() -> None:
    """A shape with few cameras gets its turns, and no more than its turns."""
    counts = serve([SHAPES[0]] * 15 + [SHAPES[1]], 8, 200)

    assert max(counts) - min(counts) <= 1 + 200 // 16
    assert min(counts) >= 60


def serve(shapes: list[tuple[int, int]], max_batch: int, rounds: int) -> list[int]:
    """Count the inspections of cameras that always have a fresh frame."""
    last = [-1] * len(shapes)
    counts = [0] * len(shapes)
    turn = 0
    for tick in range(rounds):
        now = float(tick)
        ready = [Ready(i, now, shape, last[i]) for i, shape in enumerate(shapes)]
        for camera in plan_batch(now, ready, max_batch=max_batch).batch:
            turn += 1
            counts[camera] += 1
            last[camera] = turn
    return counts


def test_a_capped_cameras_early_frame_is_dropped_and_a_files_waits() -> None:
    """A live camera's frame would be replaced anyway; a file's frame must not be lost."""
    live = Ready(0, NOW, SHAPES[0], not_before_s=NOW + 0.1, capped=True)
    file = Ready(1, NOW, SHAPES[0], not_before_s=NOW + 0.2)

    assert plan_batch(NOW, [live, file], max_batch=4) == BatchPlan(early=(0,), again_s=NOW + 0.2)


@given(st.lists(st.floats(0.0, 0.5), min_size=2, max_size=60), st.floats(0.05, 1.0))
def test_a_capped_camera_keeps_its_rate_and_never_catches_up(delays: list[float], period_s: float) -> None:
    """Inspected late each time, it holds its rate if less than a period late, and never has two turns at once."""
    due_s, turns = next_turn(-inf, 0.0, period_s), [0.0]
    for delay_s in delays:
        turns.append(due_s + delay_s)
        due_s = next_turn(due_s, turns[-1], period_s)
        assert due_s > turns[-1]

    if max(delays) < period_s * 0.99:
        assert turns[-1] - delays[-1] == pytest.approx(len(delays) * period_s)
    assert len(turns) - 1 <= turns[-1] / period_s + 1e-6
