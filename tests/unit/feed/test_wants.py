# SPDX-License-Identifier: AGPL-3.0-or-later
"""What clients want: read strictly, and put together for those who would make it."""

from __future__ import annotations

from typing import Any

import pytest

from vision_line.feed.protocol import FeedFormatError
from vision_line.feed.wants import FrameChoice, Want, demand_of, frames_demanded, frames_wake, read_want


def test_a_camera_of_its_own_goes_before_the_rest() -> None:
    """`*` is for the cameras that are not named."""
    want = read_want({"kind": "want", "frames": {"*": "keyframes", "a": "all", "b": "nothing"}, "results": ["a"]})

    assert [want.frames_of(camera) for camera in "abc"] == ["all", "nothing", "keyframes"]
    assert [want.wants_result(camera, keyframe=False) for camera in "ab"] == [True, False]
    assert want.unknown(["a"]) == ["b"]


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "wish"},
        {"kind": "want", "snapshot": True},
        {"kind": "want", "snapshots": "yes"},
        {"kind": "want", "frames": {"a": "some"}},
        {"kind": "want", "frames": {"a": 1}},
        {"kind": "want", "results": "a"},
        {"kind": "want", "results": [1]},
        {"kind": "want", "patience_s": 1.5},
        {"kind": "want", "patience_s": -0.1},
        {"kind": "want", "patience_s": "0.1"},
        {"kind": "want", "patience_s": True},
    ],
)
def test_what_does_not_exist_is_refused(header: dict[str, Any]) -> None:
    """A misspelt key would otherwise be silence."""
    with pytest.raises(FeedFormatError, match="want: "):
        read_want(header)


def test_the_most_that_anybody_wants_is_made() -> None:
    """And nothing else."""
    wants = [
        Want(snapshots=True, frames={"*": FrameChoice.KEYFRAMES}),
        Want(results=frozenset({"a"}), frames={"a": FrameChoice.ALL, "b": FrameChoice.NOTHING}),
    ]

    assert [frames_demanded(wants, camera) for camera in "abc"] == ["all", "keyframes", "keyframes"]
    assert frames_demanded([], "a") is FrameChoice.NOTHING
    demand = demand_of(wants)
    assert (demand.snapshots, demand.decisions, demand.journal) == (True, False, False)
    assert demand.is_of_scheduler
    assert demand.wants_result("a", keyframe=False)
    assert not demand.wants_result("b", keyframe=True)
    assert not demand_of([Want(journal=True)]).is_of_scheduler


def test_of_other_cameras_only_what_came_as_a_keyframe() -> None:
    want = read_want({"kind": "want", "results": ["a"], "keyframe_results": ["b"]})
    demand = demand_of([want, Want(keyframe_results=frozenset({"c"}))])

    assert [want.wants_result(camera, keyframe=False) for camera in "abc"] == [True, False, False]
    assert [want.wants_result(camera, keyframe=True) for camera in "abc"] == [True, True, False]
    assert [demand.wants_result(camera, keyframe=True) for camera in "abcd"] == [True, True, True, False]
    assert demand_of([Want(keyframe_results=frozenset({"c"}))]).is_of_scheduler
    assert want.unknown(["a"]) == ["b"]


def test_who_is_patient_is_not_woken_for_what_can_wait() -> None:
    """But for all frames of a camera; and one who is not patient is enough."""
    focused = {"*": FrameChoice.KEYFRAMES, "a": FrameChoice.ALL, "c": FrameChoice.NOTHING}
    patient = Want(snapshots=True, results=frozenset({"*"}), frames=focused, patience_s=0.05)
    hasty = Want(snapshots=True, keyframe_results=frozenset({"a"}), frames={"b": FrameChoice.KEYFRAMES})
    wakes = [(demand.snapshots_wake, demand.results_wake) for demand in map(demand_of, ([patient], [patient, hasty]))]
    assert wakes == [(False, False), (True, True)]
    assert [frames_wake([patient], camera) for camera in "abc"] == [True, False, False]
    assert [frames_wake([patient, hasty], camera) for camera in "abc"] == [True, True, False]
