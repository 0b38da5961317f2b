# SPDX-License-Identifier: AGPL-3.0-or-later
"""What waits for a client: never more than its limit, never a frame that refers to one that is missing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from vision_line.feed.client_queue import FRAMES_BYTES, RESULTS_BYTES, SURE_BYTES, ClientQueue

#: A camera's group of frames: of how many, and how large each is.
STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.booleans(), st.integers(1, 900_000), st.integers(0, 3)), max_size=120
)


def popped(queue: ClientQueue) -> Iterator[bytes]:
    while queue:
        yield b"".join(queue.pop())


def taken(queue: ClientQueue) -> list[bytes]:
    return list(popped(queue))


@given(STEPS)
def test_every_frame_can_be_decoded_and_each_missing_one_is_counted(
    steps: list[tuple[str, bool, int, int]],
) -> None:
    """Whatever the client takes in between: each group begins with its keyframe and has no hole."""
    queue, sent = ClientQueue(), list[str]()
    offered, numbers, begun = {"a": 0, "b": 0}, {"a": 0, "b": 0}, set[str]()

    for camera, keyframe, size, taken_now in steps:
        numbers[camera] += 1
        if keyframe or camera in begun:
            begun.add(camera)
            offered[camera] += 1
        head = f"{camera}{'k' if keyframe else 'd'}{numbers[camera]:06}".encode()
        queue.frame(camera, 1, b"", (head, bytes(size)), keyframe=keyframe)
        assert queue.size <= FRAMES_BYTES + 10
        sent += [message[:8].decode() for message in islice(popped(queue), taken_now)]
    sent += [message[:8].decode() for message in taken(queue)]

    last: dict[str, int] = {}
    for label in sent:
        camera, number = label[0], int(label[2:])
        assert label[1] == "k" or last.get(camera) == number - 1
        last[camera] = number
    got = {camera: sum(label[0] == camera for label in sent) for camera in "ab"}
    assert {camera: offered[camera] - got[camera] for camera in "ab"} == {
        camera: queue.dropped.frames[camera] for camera in "ab"
    }


def test_each_connection_begins_with_its_video_and_a_keyframe() -> None:
    """What comes before its keyframe is of no use, and nothing that was dropped."""
    queue = ClientQueue()
    for connection, data, keyframe in ((1, b"d", False), (1, b"k", True), (1, b"d", False), (2, b"d", False)):
        queue.frame("a", connection, b"video%d " % connection, (data,), keyframe=keyframe)
    queue.frame("a", 2, b"video2 ", (b"k",), keyframe=True)

    assert taken(queue) == [b"video1 k", b"d", b"video2 k"]
    assert not queue.dropped.frames


def test_a_frame_larger_than_the_limit_comes_alone() -> None:
    """A camera of large JPEG images is not left out for ever."""
    queue = ClientQueue()
    queue.frame("a", 1, b"", (bytes(FRAMES_BYTES + 1),), keyframe=True)
    queue.frame("a", 1, b"", (b"next",), keyframe=True)

    assert [len(message) for message in taken(queue)] == [FRAMES_BYTES + 1]
    assert queue.dropped.frames == {"a": 1}


def test_the_oldest_results_go_and_are_counted() -> None:
    """A slow client sees the newest."""
    queue, size, count = ClientQueue(), 1000, 2000
    for number in range(count):
        queue.result(b"%06d" % number + bytes(size - 6))
    found = [int(message[:6]) for message in taken(queue)]

    assert len(found) == RESULTS_BYTES // size
    assert found == list(range(count - len(found), count))
    assert queue.dropped.results == count - len(found)


def test_only_the_newest_snapshot_waits_and_replaced_ones_are_counted() -> None:
    """A number of the journal is replaced too, but nothing is lost by that."""
    queue = ClientQueue()
    for number in range(3):
        queue.newest("snapshot", b"s%d" % number)
        queue.newest("journal", b"j%d" % number)

    assert taken(queue) == [b"s2", b"j2"]
    assert queue.dropped.counts == (0, 0, 2)


def test_what_must_arrive_is_refused_rather_than_dropped() -> None:
    """Whoever asked must then send the client away."""
    queue, taken_in = ClientQueue(), 0
    while queue.sure(bytes(1000)):
        taken_in += 1

    assert taken_in == SURE_BYTES // 1000
    assert len(taken(queue)) == taken_in


def test_decisions_go_before_everything_else() -> None:
    """And frames come last: they are the most, and the least to be missed."""
    queue = ClientQueue()
    queue.frame("a", 1, b"", (b"frame",), keyframe=True)
    queue.result(b"result")
    queue.newest("snapshot", b"snapshot")
    queue.sure(b"decision")

    assert taken(queue) == [b"decision", b"snapshot", b"result", b"frame"]
