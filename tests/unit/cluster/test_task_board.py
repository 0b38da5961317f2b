# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who does which task: each ends once, a second try goes elsewhere, and nothing waits for a node that is gone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vision_line.cluster.task_board import TRIES, TaskBoard, WorkerSlot, slots_of


def test_a_node_without_gpus_has_one_slot_with_all_of_its_cores() -> None:
    assert slots_of("a", ["x"], 16.0) == [WorkerSlot("a", 0, frozenset({"x"}), 16.0)]


def test_a_node_has_a_slot_for_each_gpu() -> None:
    """With its share of the cores."""
    slots = slots_of("a", ["x"], 16.0, 2)
    assert [(slot.number, slot.cpus) for slot in slots] == [(0, 8.0), (1, 8.0)]


def test_who_can_do_little_is_asked_first() -> None:
    """So a GPU is left for the training."""
    board = TaskBoard[str]([*slots_of("gpu", ["train", "other"], 4.0, 1), *slots_of("plain", ["other"], 4.0)])
    board.add("evaluation", "other")
    board.add("training", "train")

    assert {task: slot.node for slot, task in board.assign()} == {"evaluation": "plain", "training": "gpu"}


def test_a_task_whose_worker_died_goes_elsewhere() -> None:
    """Though the node lives, and is free before the other one."""
    board = TaskBoard[str]([*slots_of("a", ["x"], 1.0), *slots_of("b", ["x"], 1.0)])
    for task in ("one", "two"):
        board.add(task, "x")
    first = {task: slot for slot, task in board.assign()}
    assert board.died(first["one"]) is None
    assert not list(board.assign())  # b is busy
    board.finished(first["two"])

    assert [(slot.node, task) for slot, task in board.assign()] == [("b", "one")]


def test_where_there_is_no_other_node_it_is_tried_where_it_was() -> None:
    board = TaskBoard[str](slots_of("a", ["x"], 1.0))
    board.add("one", "x")
    ((slot, _),) = board.assign()
    board.died(slot)
    ((again, _),) = board.assign()

    assert board.died(again) == "one"
    assert not board.is_busy


def test_what_no_node_is_left_for_is_given_back() -> None:
    board = TaskBoard[str]([*slots_of("a", ["x", "y"], 1.0), *slots_of("b", ["y"], 1.0)])
    for kind in "xy":
        board.add(kind, kind)
    board.remove_node("a")

    assert board.take_stranded() == ["x"]
    assert [task for _, task in board.assign()] == ["y"]


@given(st.data())
def test_every_task_ends_once(data: st.DataObject) -> None:
    """Done, given up after its tries, or stranded, whatever dies; never two at a slot, never twice where it died."""
    nodes = data.draw(st.integers(1, 4))
    slots = [slot for node in range(nodes) for slot in slots_of(f"n{node}", ["x"], 2.0, data.draw(st.integers(0, 2)))]
    board = TaskBoard[int](slots)
    tasks = range(data.draw(st.integers(0, 8)))
    for task in tasks:
        board.add(task, "x")
    working: dict[WorkerSlot, int] = {}
    living = {slot.node for slot in slots}
    ended, begun, died_on = Counter[int](), Counter[int](), dict[int, str]()
    while board.is_busy:
        ended.update(board.take_stranded())
        for slot, task in board.assign():
            assert slot not in working
            assert slot.node in living
            assert slot.node != died_on.get(task) or living == {slot.node}
            working[slot] = task
            begun[task] += 1
        if not working:
            continue
        slot = data.draw(st.sampled_from(sorted(working, key=lambda one: (one.node, one.number))))
        task = working.pop(slot)
        what = data.draw(st.sampled_from(["done", "worker died", "node died"]))
        if what == "done":
            assert board.finished(slot) == task
            ended[task] += 1
            continue
        if what == "node died":
            living.discard(slot.node)
            board.remove_node(slot.node)
        died_on[task] = slot.node
        if board.died(slot) is not None:
            ended[task] += 1

    assert ended == Counter(tasks)
    assert not begun or max(begun.values()) <= TRIES
