# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tasks on the nodes of a cluster: each is a text for one function, and comes back as a text or as an error."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Generic, NamedTuple, TypeVar

from vision_line.cluster.ray_cluster import CallAnswer, RayCall, RayCluster, TextFunction, WorkerNode
from vision_line.cluster.task_board import TRIES, TaskBoard, WorkerSlot
from vision_line.errors import RunError

logger = logging.getLogger(__name__)

#: How long nothing may happen before the nodes are counted again.
GLANCE_S = 5.0
#: After so long it is said that a task is under way, and again after twice as long: it may be at work, or hang.
SAID_AFTER_S = 600.0

_Task = TypeVar("_Task")


class DoneTask(NamedTuple, Generic[_Task]):
    """A task that is over, its text or why there is none, and the node that did it; "": none was left."""

    task: _Task
    outcome: str | RunError
    node: str


class _Order(NamedTuple, Generic[_Task]):
    task: _Task
    text: str
    needs_gpu: bool
    limit_s: float


@dataclass(slots=True)
class _UnderWay:
    slot: WorkerSlot
    limit_s: float
    since_s: float
    said_after_s: float = SAID_AFTER_S


class RemoteWork(Generic[_Task]):
    """Hands out tasks and collects them; whoever made it closes it."""

    def __init__(
        self,
        cluster: RayCluster,
        nodes: Sequence[WorkerNode],
        slots: Sequence[WorkerSlot],
        function: TextFunction,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let `function` do the tasks, in the `slots` of the `nodes`."""
        self._cluster = cluster
        self._names = {node.id: node.name for node in nodes}
        self._function = function
        self._board = TaskBoard[_Order[_Task]](slots)
        self._clock = clock
        self._calls: dict[RayCall, _UnderWay] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a task is not over."""
        return self._board.is_busy

    def start(self, task: _Task, text: str, kind: str, *, needs_gpu: bool = False, limit_s: float = inf) -> None:
        """Hand out a task of a kind; `text` is what is sent. What takes longer than `limit_s` counts as died."""
        self._board.add(_Order(task, text, needs_gpu, limit_s), kind)

    def wait(self) -> Iterator[DoneTask[_Task]]:
        """Yield the tasks that are over, once there is one."""
        while self.is_busy:
            over = list(self._step())
            if over:
                yield from over
                return

    def close(self) -> None:
        """Give up what is under way."""
        for call in self._calls:
            self._cluster.cancel(call)
        self._calls.clear()

    def _step(self) -> Iterator[DoneTask[_Task]]:
        for order in self._board.take_stranded():
            yield DoneTask(order.task, RunError("no node of the cluster is left for it"), "")
        for slot, order in self._board.assign():
            gpus = 1.0 if order.needs_gpu else 0.0
            call = self._cluster.call(self._function, order.text, slot.node, cpus=slot.cpus, gpus=gpus)
            self._calls[call] = _UnderWay(slot, order.limit_s, self._clock())
        if self._calls:
            for call in self._cluster.wait(list(self._calls), GLANCE_S):
                yield from self._take(self._calls.pop(call).slot, self._cluster.answer(call))
        for call, one in list(self._calls.items()):
            took_s = self._clock() - one.since_s
            if took_s > one.limit_s:
                del self._calls[call]
                self._cluster.cancel(call)
                problem = f"nothing came of it within {one.limit_s / 60:.0f} minutes"
                yield from self._take(one.slot, CallAnswer(problem=problem, died=True))
            elif took_s > one.said_after_s:
                one.said_after_s = 2 * took_s
                name = self._names[one.slot.node]
                logger.warning("a task on %s has been under way for %.0f minutes", name, took_s / 60)

    def _take(self, slot: WorkerSlot, answer: CallAnswer) -> Iterator[DoneTask[_Task]]:
        name = self._names[slot.node]
        if not answer.died:
            order = self._board.finished(slot)
            yield DoneTask(
                order.task, RunError(f"on {name}: {answer.problem}") if answer.problem else answer.text, name
            )
            return
        if answer.node_is_gone or not self._cluster.is_alive(slot.node):
            self._board.remove_node(slot.node)
        given_up = self._board.died(slot)
        if given_up is not None:
            why = RunError(f"the worker died {TRIES} times over it, the last time on {name}: {answer.problem}")
            yield DoneTask(given_up.task, why, name)
            return
        logger.warning(
            "the worker on %s died (%s); its task is tried once more, elsewhere if it can be", name, answer.problem
        )
