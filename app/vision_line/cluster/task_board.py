# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which worker does which task next; the task of one that died is tried once more, elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_Task = TypeVar("_Task")

#: How often a task is begun, at most.
TRIES = 2


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """One task's place on a node, with this share of the node's cores."""

    node: str
    number: int
    kinds: frozenset[str]  # of tasks that it can do
    cpus: float


def slots_of(node: str, kinds: Iterable[str], cpus: float, gpus: int = 0) -> list[WorkerSlot]:
    """Return the slots of a node: one with all of its cores, or one for each of its `gpus` with its share of them."""
    parts = max(1, gpus)
    return [WorkerSlot(node, number, frozenset(kinds), cpus / parts) for number in range(parts)]


@dataclass(slots=True)
class _Waiting(Generic[_Task]):
    task: _Task
    kind: str
    died_on: str = ""  # the node of the first try; "": this is it


class TaskBoard(Generic[_Task]):
    """Tasks that wait, and those that slots work on. A slot has one task at a time."""

    def __init__(self, slots: Sequence[WorkerSlot]) -> None:
        """Begin with nothing to do."""
        # Who can do little is asked first, so that a GPU is left for what needs it.
        self._slots = sorted(slots, key=lambda slot: (len(slot.kinds), slot.node, slot.number))
        self._waiting: list[_Waiting[_Task]] = []
        self._working: dict[WorkerSlot, _Waiting[_Task]] = {}

    def add(self, task: _Task, kind: str) -> None:
        """Put a task behind those that wait."""
        self._waiting.append(_Waiting(task, kind))

    @property
    def is_busy(self) -> bool:
        """Whether anything waits or is worked on."""
        return bool(self._waiting or self._working)

    def assign(self) -> Iterator[tuple[WorkerSlot, _Task]]:
        """Yield the tasks to be begun now, each with its slot."""
        for waiting in list(self._waiting):
            slot = next((slot for slot in self._slots if slot not in self._working and self._may(slot, waiting)), None)
            if slot is not None:
                self._waiting.remove(waiting)
                self._working[slot] = waiting
                yield slot, waiting.task

    def finished(self, slot: WorkerSlot) -> _Task:
        """Return the task that the slot has done."""
        return self._working.pop(slot).task

    def died(self, slot: WorkerSlot) -> _Task | None:
        """Take in that a worker died over its task; return the task where that was the last try."""
        waiting = self._working.pop(slot)
        if waiting.died_on:
            return waiting.task
        waiting.died_on = slot.node
        self._waiting.insert(0, waiting)
        return None

    def remove_node(self, node: str) -> None:
        """Give a node nothing more; what it works on is still to be finished, or to die."""
        self._slots = [slot for slot in self._slots if slot.node != node]

    def take_stranded(self) -> list[_Task]:
        """Return the tasks that no slot is left for, and forget them."""
        stranded = [one for one in self._waiting if not any(one.kind in slot.kinds for slot in self._slots)]
        self._waiting = [one for one in self._waiting if one not in stranded]
        return [one.task for one in stranded]

    def _may(self, slot: WorkerSlot, waiting: _Waiting[_Task]) -> bool:
        """Whether the slot may have the task: a second try goes elsewhere if there is another node for it."""
        if waiting.kind not in slot.kinds:
            return False
        others = {one.node for one in self._slots if waiting.kind in one.kinds} - {waiting.died_on}
        return slot.node != waiting.died_on or not others
