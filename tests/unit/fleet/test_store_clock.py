# SPDX-License-Identifier: AGPL-3.0-or-later
"""A store whose clock is wrong is noticed, and one that answers late is not taken for that."""

from __future__ import annotations

import pytest

from vision_line.fleet.coordination import StoreEntry
from vision_line.fleet.store_clock import StoreClock


def heard(late_s: list[float], ahead_s: float, clock: StoreClock | None = None, first: int = 1) -> StoreClock:
    """Return a clock that heard heartbeats so late of a store whose clock is so far ahead."""
    clock = clock or StoreClock()
    for number, delay_s in enumerate(late_s, first):
        clock.note(StoreEntry("node.a", b"", number, 1e9 + number + ahead_s), 1e9 + number + delay_s)
    return clock


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0, 2.5, -2.5])
def test_a_clock_that_is_wrong(ahead_s: float) -> None:
    assert heard([0.1, 1.5, 0.1, 0.0, 0.9], ahead_s).apart_s == pytest.approx(ahead_s)


def test_a_store_that_is_late_now_and_then_is_not_wrong() -> None:
    assert heard([9.0, 8.0, 7.0, 0.4, 9.0], 0.0).apart_s is None


def test_little_is_said_of_little() -> None:
    """Nor of what came again, as it does when a watch is begun anew, nor of a store that dates nothing."""
    clock = heard([0.0] * 4, 60.0)
    assert clock.apart_s is None
    clock.note(StoreEntry("node.a", b"", 4, 1e9), 1e9 + 500)
    clock.note(StoreEntry("node.a", b"", 5), 1e9 + 500)
    assert clock.apart_s is None


def test_another_server_leads() -> None:
    """Whose clock is right."""
    clock = heard([0.0] * 5, 60.0)
    assert heard([0.0] * 5, 0.0, clock, first=6).apart_s is None
