# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker that hangs is noticed: it is said, and what may be given up is tried elsewhere. The cluster is played."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from vision_line.cluster.ray_cluster import CallAnswer, RayCluster, WorkerNode
from vision_line.cluster.remote_work import GLANCE_S, SAID_AFTER_S, RemoteWork
from vision_line.cluster.task_board import slots_of
from vision_line.errors import RunError

NODES = [WorkerNode(name, f"machine {name}", 1.0, 0) for name in "ab"]


class HangingCluster:
    """What is given to a node of `hanging` never comes back; each wait for that takes its time."""

    def __init__(self, hanging: str) -> None:
        self.now_s = 0.0
        self.given: list[str] = []
        self.cancelled: list[str] = []
        self._hanging = hanging

    def call(self, _function: object, _text: str, node_id: str, **_needs: float) -> tuple[int, str]:
        self.given.append(node_id)
        return len(self.given), node_id

    def wait(self, pending: Sequence[tuple[int, str]], timeout_s: float) -> list[tuple[int, str]]:
        over = [call for call in pending if call[1] not in self._hanging]
        self.now_s += 0.0 if over else timeout_s
        return over[:1]

    def answer(self, _call: object) -> CallAnswer:
        return CallAnswer("done")

    def cancel(self, call: tuple[int, str]) -> None:
        self.cancelled.append(call[1])

    def is_alive(self, _node: str) -> bool:
        return True


def work_on(cluster: HangingCluster) -> RemoteWork[str]:
    slots = [slot for node in NODES for slot in slots_of(node.id, ["shard"], 1.0)]
    clock = lambda: cluster.now_s  # noqa: E731
    return RemoteWork(cast(RayCluster, cluster), NODES, slots, str, clock)


def test_what_takes_too_long_is_tried_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    cluster = HangingCluster("a")
    work = work_on(cluster)
    work.start("one", "", "shard", limit_s=60.0)

    (done,) = work.wait()

    assert (done.task, done.outcome, done.node) == ("one", "done", "machine b")
    assert cluster.cancelled == ["a"]
    assert 60.0 < cluster.now_s <= 60.0 + 2 * GLANCE_S
    assert "machine a" in caplog.text
    assert "within 1 minutes" in caplog.text


def test_what_takes_too_long_everywhere_is_given_up() -> None:
    cluster = HangingCluster("ab")
    work = work_on(cluster)
    work.start("one", "", "shard", limit_s=60.0)

    (done,) = work.wait()

    assert isinstance(done.outcome, RunError)
    assert cluster.given == cluster.cancelled == ["a", "b"]
    assert not work.is_busy


def test_a_task_that_may_take_its_time_is_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    """Ever more rarely: a training takes a day."""
    cluster = HangingCluster("a")
    work = cast(Any, work_on(cluster))
    work.start("training", "", "shard")
    while cluster.now_s < 8 * SAID_AFTER_S:
        assert list(work._step()) == []

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert said[0] == "a task on machine a has been under way for 10 minutes"
    assert cluster.cancelled == []
