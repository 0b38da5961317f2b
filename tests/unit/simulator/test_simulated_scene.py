# SPDX-License-Identifier: AGPL-3.0-or-later
"""A scene is periodic, moves evenly, and its truth agrees with its pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vision_line.simulator.defects import KINDS
from vision_line.simulator.scene import BARCODE_ROWS, FPS, SIZE_WH, Scene, ScenePlan, draw_scene

PLAN = ScenePlan(seed=21, frames=250, boards=3, speed_px_s=93.0, defective_share=1.0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Draw one scene for all tests of this file."""
    return draw_scene(PLAN)


def test_the_same_plan_gives_the_same_frames(scene: Scene) -> None:
    """A scene is a function of its plan, whatever was rendered before."""
    assert np.array_equal(draw_scene(PLAN).render(17), scene.render(17))


def test_the_last_frame_leads_to_the_first(scene: Scene) -> None:
    """After a turn of the belt everything repeats, noise included."""
    assert np.array_equal(scene.render(0), scene.render(PLAN.frames))
    assert np.array_equal(scene.render(3), scene.render(PLAN.frames + 3))
    assert scene.boxes(3) == scene.boxes(PLAN.frames + 3)


def test_the_belt_moves_to_the_right_at_its_speed(scene: Scene) -> None:
    """Each defect moves by speed / fps a frame, across the loop boundary too."""
    step = scene.plan.belt_px / PLAN.frames
    assert step * FPS == pytest.approx(PLAN.speed_px_s, rel=0.01)
    checked = 0
    for index in range(PLAN.frames):
        before = {seen.defect_id: seen for seen in scene.boxes(index) if seen.visible == 1}
        for seen in scene.boxes(index + 1):
            if seen.visible == 1 and seen.defect_id in before:
                checked += 1
                assert seen.xyxy[0] - before[seen.defect_id].xyxy[0] == pytest.approx(step)
                assert seen.xyxy[1] == before[seen.defect_id].xyxy[1]
    assert checked > PLAN.frames


def test_each_defect_crosses_the_whole_frame_once_in_a_loop(scene: Scene) -> None:
    """A defect is visible from the left side to the right side without a gap."""
    dwell = (SIZE_WH[0] + 16) / scene.plan.belt_px * PLAN.frames
    for defect in scene.defects:
        shown = [any(s.defect_id == defect.defect_id for s in scene.boxes(i)) for i in range(PLAN.frames)]
        starts = sum(now and not shown[i - 1] for i, now in enumerate(shown))
        assert starts == 1
        assert dwell - 1 <= sum(shown) <= dwell + 10


def test_boxes_lie_in_the_frame_above_the_barcode(scene: Scene) -> None:
    """Boxes are cut at the sides and never reach the margin."""
    for index in range(0, PLAN.frames, 5):
        for seen in scene.boxes(index):
            x0, y0, x1, y1 = seen.xyxy
            assert 0 <= x0 < x1 <= SIZE_WH[0]
            assert 0 <= y0 < y1 <= SIZE_WH[1] - BARCODE_ROWS
            assert 0 < seen.visible <= 1
            assert seen.kind in KINDS


def test_the_margin_of_the_barcode_is_empty(scene: Scene) -> None:
    """Belt and boards keep out of the lowest rows."""
    assert not scene.render(40)[-BARCODE_ROWS:].any()


def test_pixels_differ_from_the_good_line_where_the_truth_says_so(scene: Scene) -> None:
    """The line without defects has the same boards: frames differ in the boxes and nowhere else."""
    good = draw_scene(replace(PLAN, defective_share=0.0))
    assert good.defects == ()
    for index in range(0, PLAN.frames, 25):
        changed = np.abs(scene.render(index).astype(int) - good.render(index)).max(axis=2)
        for seen in scene.boxes(index):
            x0, y0, x1, y1 = seen.xyxy
            box = changed[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))]
            assert seen.visible < 0.6 or box.max() > 20
            box[:] = 0
        assert changed.max() <= 8


def test_a_belt_too_short_for_its_boards_is_refused() -> None:
    """A defect must never be seen twice in one frame."""
    with pytest.raises(ValueError, match="too short"):
        draw_scene(ScenePlan(seed=1, frames=100, boards=1))
