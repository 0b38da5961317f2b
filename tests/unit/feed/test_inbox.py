# SPDX-License-Identifier: AGPL-3.0-or-later
"""The hand-over to the feed's thread: bounded, in order, and harmless once it is closed."""

from __future__ import annotations

import os
import select
import tempfile
import threading

from vision_line.feed.inbox import Inbox


def is_ready(inbox: Inbox[int]) -> bool:
    return bool(select.select([inbox.descriptor], [], [], 0)[0])


def test_items_come_in_their_order_and_wake_once() -> None:
    """What was taken wakes nobody any more."""
    inbox: Inbox[int] = Inbox()
    try:
        assert not is_ready(inbox)
        assert all(inbox.put(number, 1) for number in range(5))
        assert is_ready(inbox)
        assert inbox.take() == [0, 1, 2, 3, 4]
        assert not is_ready(inbox)
        assert inbox.take() == []
    finally:
        inbox.close()


def test_it_is_bounded_and_has_a_reserve_for_what_must_not_be_lost() -> None:
    """Room comes back when the items are taken."""
    inbox: Inbox[int] = Inbox(limit=10, reserve=5)
    try:
        assert inbox.put(1, 10)
        assert not inbox.put(2, 1)
        assert inbox.put(3, 5, must=True)
        assert not inbox.put(4, 1, must=True)
        assert inbox.take() == [1, 3]
        assert inbox.put(5, 10)
    finally:
        inbox.close()


def test_a_closed_one_writes_into_no_other_file() -> None:
    """Its descriptor's number may be another file's by then: the record file's, for example."""
    with tempfile.TemporaryFile() as other:
        inbox: Inbox[int] = Inbox()
        descriptor = inbox.descriptor
        inbox.close()
        inbox.close()
        os.dup2(other.fileno(), descriptor)
        try:
            assert not inbox.put(1, 1)
            inbox.wake()
            assert os.fstat(descriptor).st_size == 0
        finally:
            os.close(descriptor)


def test_many_threads_lose_nothing() -> None:
    """Each one's items stay in their order."""
    inbox: Inbox[tuple[int, int]] = Inbox()
    threads = [
        threading.Thread(target=lambda of=of: [inbox.put((of, number), 1) for number in range(500)]) for of in range(4)
    ]
    for thread in threads:
        thread.start()
    found: list[tuple[int, int]] = []
    while len(found) < 2000:
        select.select([inbox.descriptor], [], [], 5)
        found += inbox.take()
    for thread in threads:
        thread.join()
    inbox.close()

    assert {of: [n for o, n in found if o == of] for of in range(4)} == {of: list(range(500)) for of in range(4)}


def test_what_does_not_wake_comes_with_what_does() -> None:
    """In its place."""
    inbox: Inbox[int] = Inbox()
    try:
        assert inbox.put(1, 1, wakes=False)
        assert not is_ready(inbox)
        assert inbox.put(2, 1)
        assert is_ready(inbox)
        assert inbox.take() == [1, 2]
    finally:
        inbox.close()
