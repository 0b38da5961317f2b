# SPDX-License-Identifier: AGPL-3.0-or-later
"""What clients want: read strictly, and put together for those who would make it."""

from __future__ import annotations

from typing import Any

import pytest

from vision_line.feed.protocol import FeedFormatError
from vision_line.feed.wants import (
    FrameChoice,
    Want,
    are_apart,
    demand_of,
    frames_demanded,
    frames_wake,
    read_want,
)


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
        {"kind": "want", "snapshots_apart_s": 2.5},
        {"kind": "want", "brief": 1},
        {"kind": "want", "patience_s": "0.1"},
        {"kind": "want", "patience_s": True},
    ],
)
def test_what_does_not_exist_is_refused(header: dict[str, Any]) -> None:
    """A misspelt key would otherwise be silence."""
    with pytest.raises(FeedFormatError, match="want: "):
        read_want(header)


def test_what_is_not_wanted_is_not_said() -> None:
    """A run of an earlier version, which refuses keys that it does not know, understands a program of this one."""
    want = Want(snapshots=True, results=frozenset({"a"}))
    assert want.header == {"kind": "want", "snapshots": True, "results": ["a"]}
    assert read_want(want.header) == want


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


def test_who_lets_all_frames_wait_is_not_woken_by_them() -> None:
    """It needs patience, too; and one who does not wait is enough."""
    focused = {"*": FrameChoice.KEYFRAMES, "a": FrameChoice.ALL}
    waits = Want(frames=focused, patience_s=0.08, frames_wait=True)
    has_no_patience = Want(frames=focused, frames_wait=True)
    at_once = Want(frames={"a": FrameChoice.ALL}, patience_s=0.05)
    assert [frames_wake([waits], camera) for camera in "ab"] == [False, False]
    assert [frames_wake([has_no_patience], camera) for camera in "ab"] == [True, True]
    assert [frames_wake([waits, at_once], camera) for camera in "ab"] == [True, False]


def test_snapshots_are_made_as_often_as_anybody_wants_them() -> None:
    """They come each quarter of a second, more or less: of a second apart is each fourth."""
    seldom, others = Want(snapshots=True, snapshots_apart_s=1.0), Want(journal=True)
    assert demand_of([seldom, others]).snapshots_apart_s == 1.0
    assert demand_of([seldom, Want(snapshots=True)]).snapshots_apart_s == 0.0
    came_s, taken_s = [0.0, 0.26, 0.5, 0.74, 0.98, 1.25, 1.6, 1.99, 2.24], [float("-inf")]
    for now_s in came_s:
        if are_apart(taken_s[-1], now_s, 1.0):
            taken_s.append(now_s)
    assert taken_s[1:] == [0.0, 0.98, 1.99]


def test_objects_are_asked_for_only_where_a_result_is_wanted_whole() -> None:
    brief, whole = Want(results=frozenset({"a"}), brief=True), Want(keyframe_results=frozenset({"*"}))
    assert [demand_of(wants).objects for wants in ([brief], [brief, whole], [Want(snapshots=True)])] == [
        False,
        True,
        False,
    ]
