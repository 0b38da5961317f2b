# SPDX-License-Identifier: AGPL-3.0-or-later
"""The mailbox accounts for every frame, keeps the newest of a camera and all of a file."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.builders import make_frame

from vision_line.frames import DropCause, Frame
from vision_line.ingest.mailbox import BoundedQueue, Mailbox, NewestFrame

PATIENCE_S = 60.0


def frame(sequence: int) -> Frame:
    return make_frame("cam", sequence, at_s=float(sequence))


def put_frames(mailbox: Mailbox, n: int) -> None:
    for sequence in range(n):
        mailbox.put(frame(sequence))


class AnyMailbox(RuleBasedStateMachine):
    """Random calls on a mailbox beside a model of what waits in it."""

    def __init__(self, make: Callable[[Callable[[], None]], Mailbox], room: int) -> None:
        super().__init__()
        self.rings = self.put_n = self.left_n = 0
        self.mailbox = make(self.ring)
        self.room = room
        self.waiting: deque[Frame] = deque()
        self.closed = False

    def ring(self) -> None:
        self.rings += 1

    def keep(self, made: Frame) -> bool:
        """Do what the policy does with a frame that comes before the end; return whether it is kept."""
        raise NotImplementedError

    def may_put(self) -> bool:
        """Whether a put would return: nobody else makes room here."""
        return True

    @precondition(lambda self: self.may_put())
    @rule()
    def put(self) -> None:
        made = frame(self.put_n)
        self.mailbox.count_arrived()
        self.mailbox.put(made)
        self.put_n += 1
        self.left_n += not self.closed and self.keep(made)
        assert self.rings == self.left_n

    @rule()
    def lose(self) -> None:
        self.mailbox.count_arrived()
        self.mailbox.count_dropped(DropCause.CORRUPT)

    @rule()
    def take(self) -> None:
        assert self.mailbox.take() is (self.waiting.popleft() if self.waiting else None)

    @rule()
    def take_and_fail(self) -> None:
        if self.mailbox.take() is not None:
            self.waiting.popleft()
            self.mailbox.take_back(DropCause.CORRUPT)

    @rule()
    def drop(self) -> None:
        assert self.mailbox.drop(DropCause.STALE) is (self.waiting.popleft() if self.waiting else None)

    @rule()
    def drop_another(self) -> None:
        assert self.mailbox.drop(DropCause.STALE, frame(-1)) is None

    @precondition(lambda self: self.put_n > 5)
    @rule()
    def close(self) -> None:
        self.mailbox.close()
        self.waiting.clear()
        self.closed = True

    @invariant()
    def every_frame_is_accounted_for(self) -> None:
        counts = self.mailbox.counts()
        assert counts.arrived == counts.taken + sum(counts.dropped.values()) + counts.pending
        assert counts.decoded == self.put_n
        assert counts.pending == len(self.waiting) <= self.room
        assert self.mailbox.oldest() is (self.waiting[0] if self.waiting else None)


class LiveMailbox(AnyMailbox):
    """A live camera's: the newest frame alone waits, whether anybody wants no waiting or not."""

    def __init__(self) -> None:
        super().__init__(NewestFrame, 1)

    def keep(self, made: Frame) -> bool:
        self.waiting = deque([made])
        return True

    @rule()
    def stop_waiting(self) -> None:
        self.mailbox.stop_waiting()


class FileMailbox(AnyMailbox):
    """A file's: none is lost before the end, and what waits stays when `put` waits no more."""

    def __init__(self) -> None:
        super().__init__(BoundedQueue, BoundedQueue.ROOM)
        self.waits = True

    def may_put(self) -> bool:
        return self.closed or not self.waits or len(self.waiting) < self.room

    def keep(self, made: Frame) -> bool:
        if len(self.waiting) == self.room:
            return False
        self.waiting.append(made)
        return True

    @precondition(lambda self: self.put_n > 5)
    @rule()
    def stop_waiting(self) -> None:
        self.mailbox.stop_waiting()
        self.waits = False


TestLiveMailbox = LiveMailbox.TestCase
TestLiveMailbox.settings = settings(max_examples=50, stateful_step_count=40)
TestFileMailbox = FileMailbox.TestCase
TestFileMailbox.settings = settings(max_examples=50, stateful_step_count=40)


def test_a_file_waits_for_room_and_loses_nothing() -> None:
    """Every frame of a file comes out, in order."""
    came = threading.Event()
    mailbox = BoundedQueue(came.set)
    producer = threading.Thread(target=put_frames, args=(mailbox, 50))
    producer.start()
    taken: list[int] = []
    while len(taken) < 50 and came.wait(PATIENCE_S):
        came.clear()
        while (got := mailbox.take()) is not None:
            taken.append(got.sequence)
    producer.join(PATIENCE_S)

    assert taken == list(range(50))
    assert mailbox.counts().dropped == {}


@pytest.mark.parametrize(
    ("end", "dropped", "pending"),
    [
        (lambda mailbox: mailbox.take(), {}, 2),
        (lambda mailbox: mailbox.drop(DropCause.LOG), {DropCause.LOG: 1}, 2),
        (lambda mailbox: mailbox.stop_waiting(), {DropCause.SHUTDOWN: 1}, 2),
        (lambda mailbox: mailbox.close(), {DropCause.SHUTDOWN: 3}, 0),
    ],
    ids=["take", "drop", "stop_waiting", "close"],
)
def test_what_ends_the_waiting_of_a_file(
    end: Callable[[Mailbox], object], dropped: dict[DropCause, int], pending: int
) -> None:
    """Room that comes, or an end of waiting: a drain does not hang on a full mailbox, and what waits is counted."""
    mailbox = BoundedQueue(lambda: None)
    producer = threading.Thread(target=put_frames, args=(mailbox, 3))
    producer.start()
    while mailbox.counts().decoded < 3:  # the third is counted, and then waits
        pass
    end(mailbox)
    producer.join(PATIENCE_S)

    assert not producer.is_alive()
    assert mailbox.counts().dropped == dropped
    assert mailbox.counts().pending == pending


def test_only_the_frame_that_was_meant_is_dropped() -> None:
    """One that was replaced since the look at it is gone already, and counted so."""
    mailbox = NewestFrame(lambda: None)
    mailbox.put(old := frame(0))
    mailbox.put(new := frame(1))

    assert mailbox.drop(DropCause.STALE, old) is None
    assert mailbox.drop(DropCause.STALE, new) is new
    assert mailbox.counts().dropped == {DropCause.SUPERSEDED: 1, DropCause.STALE: 1}
