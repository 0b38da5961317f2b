# SPDX-License-Identifier: AGPL-3.0-or-later
"""The backlog keeps order, loses nothing, and is bounded by number and by memory."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.errors import RunError
from vision_line.records.backlog import Backlog, BacklogLimits
from vision_line.records.entries import EvidenceEntry, estimated_bytes


def entry(number: int) -> EvidenceEntry:
    return EvidenceEntry(str(number), float(number))


@given(st.lists(st.one_of(st.just("put"), st.integers(0, 5)), max_size=60))
def test_entries_leave_in_order_and_only_when_committed(acts: list[str | int]) -> None:
    """Whatever is put comes back in order until it is forgotten, and is counted."""
    backlog = Backlog(BacklogLimits())
    kept: list[int] = []
    put = forgotten = 0
    for act in acts:
        if isinstance(act, str):
            backlog.put(entry(put))
            kept.append(put)
            put += 1
        else:
            taken = backlog.oldest(act)
            assert taken == [entry(number) for number in kept[:act]]
            backlog.acknowledge(len(taken))
            del kept[:act]
            forgotten += len(taken)

    state = backlog.state()
    assert (state.entries, state.committed) == (len(kept), forgotten)
    assert (state.oldest_s is None) == (not kept)


def test_a_full_backlog_says_so_and_then_refuses() -> None:
    """Above the soft limit it is `full`; at the hard one nothing is taken, and nothing that was taken is lost."""
    backlog = Backlog(BacklogLimits(soft_entries=2, hard_entries=4))
    fullness = []
    for number in range(4):
        backlog.put(entry(number))
        fullness.append(backlog.state().full)

    with pytest.raises(RunError, match="4 records wait"):
        backlog.put(entry(4))
    assert fullness == [False, False, True, True]
    assert backlog.oldest(9) == [entry(number) for number in range(4)]


def test_memory_is_bounded_too() -> None:
    """The limits hold for bytes as for numbers."""
    one = estimated_bytes(entry(0))
    backlog = Backlog(BacklogLimits(soft_bytes=one, hard_bytes=2 * one))
    backlog.put(entry(0))
    backlog.put(entry(1))

    assert backlog.state().full
    with pytest.raises(RunError):
        backlog.put(entry(2))


def test_a_refusal_keeps_its_first_reason_and_wakes_the_writer() -> None:
    """Who waits for entries wakes when none will come, and callers are told why."""
    backlog = Backlog(BacklogLimits())
    waiter = threading.Thread(target=backlog.wait, args=(120,))
    waiter.start()
    backlog.refuse("closed")
    backlog.refuse("failed")
    waiter.join(60)

    assert not waiter.is_alive()
    with pytest.raises(RunError, match="closed"):
        backlog.put(entry(0))
