# SPDX-License-Identifier: AGPL-3.0-or-later
"""The mailbox accounts for every frame, keeps the newest of a camera and all of a file."""

from __future__ import annotations

import threading

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vision_line.frames import Colour, ColourMatrix, ColourRange, DropCause, Frame
from vision_line.ingest.mailbox import Mailbox

COLOUR = Colour(ColourMatrix.BT601, ColourRange.LIMITED)


def frame(sequence: int) -> Frame:
    return Frame("cam", sequence, (640, 360), COLOUR, None, float(sequence), 0.0, float(sequence))


def put_frames(mailbox: Mailbox, n: int) -> None:
    for sequence in range(n):
        mailbox.put(frame(sequence), threading.Event())


class LiveMailbox(RuleBasedStateMachine):
    """Random puts, takes and drops on a live camera's mailbox."""

    def __init__(self) -> None:
        super().__init__()
        self.rings = 0
        self.mailbox = Mailbox("cam", self.ring, live=True)
        self.sequence = 0

    def ring(self) -> None:
        self.rings += 1

    @rule()
    def put(self) -> None:
        self.mailbox.count_arrived()
        self.mailbox.put(frame(self.sequence), threading.Event())
        self.sequence += 1
        newest = self.mailbox.oldest()
        assert newest is not None
        assert newest.sequence == self.sequence - 1
        assert self.rings == self.sequence

    @rule()
    def lose(self) -> None:
        self.mailbox.count_arrived()
        self.mailbox.count_dropped(DropCause.CORRUPT)

    @rule()
    def take(self) -> None:
        expected = self.mailbox.oldest()
        assert self.mailbox.take() is expected

    @rule()
    def take_and_fail(self) -> None:
        if self.mailbox.take() is not None:
            self.mailbox.take_back(DropCause.CORRUPT)

    @rule()
    def drop(self) -> None:
        self.mailbox.drop(DropCause.STALE)

    @invariant()
    def every_frame_is_accounted_for(self) -> None:
        counts = self.mailbox.counts()
        assert counts.arrived == counts.taken + sum(counts.dropped.values()) + counts.pending
        assert counts.pending <= 1


TestLiveMailbox = LiveMailbox.TestCase
TestLiveMailbox.settings = settings(max_examples=50, stateful_step_count=40)


def test_a_file_waits_for_room_and_loses_nothing() -> None:
    """Every frame of a file comes out, in order."""
    mailbox = Mailbox("file", lambda: None, live=False)
    producer = threading.Thread(target=put_frames, args=(mailbox, 50))
    producer.start()
    taken: list[int] = []
    while len(taken) < 50:
        if (got := mailbox.take()) is not None:
            taken.append(got.sequence)
    producer.join(5)

    assert taken == list(range(50))
    assert mailbox.counts().dropped == {}


def test_closing_frees_a_waiting_file_and_counts_what_waited() -> None:
    """A drain does not hang on a full mailbox."""
    mailbox = Mailbox("file", lambda: None, live=False)
    producer = threading.Thread(target=put_frames, args=(mailbox, 5))
    producer.start()
    while mailbox.counts().pending < Mailbox.ROOM:
        pass
    mailbox.close()
    producer.join(5)

    assert not producer.is_alive()
    assert mailbox.counts().dropped == {DropCause.SHUTDOWN: 5}


def test_only_the_frame_that_was_meant_is_dropped() -> None:
    """One that was replaced since the look at it is gone already, and counted so."""
    mailbox = Mailbox("cam", lambda: None)
    mailbox.put(old := frame(0), threading.Event())
    mailbox.put(new := frame(1), threading.Event())

    assert mailbox.drop(DropCause.STALE, old) is None
    assert mailbox.drop(DropCause.STALE, new) is new
    assert mailbox.counts().dropped == {DropCause.SUPERSEDED: 1, DropCause.STALE: 1}
