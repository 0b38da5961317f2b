# SPDX-License-Identifier: AGPL-3.0-or-later
"""The clock of benchmarks in virtual time stands for the scheduler's wake-up event in all that it does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from benchmarks.virtual_time import VirtualTime

from vision_line.scheduler import WakeUp


def test_nothing_of_the_event_is_left_to_real_time() -> None:
    """All but what only notes is played: a method that is not would be lost without a word."""
    public = {name for name in vars(WakeUp) if not name.startswith("_")}

    assert public - {"ignore_frames", "notify_frame", "pop_arrived"} <= vars(VirtualTime).keys()


@pytest.mark.parametrize("call", [VirtualTime.notify, lambda time: time.notify_frame("cam1")])
def test_what_notifies_ends_the_waiting(call: Callable[[VirtualTime], None]) -> None:
    """At once, if it came before; else at its moment, and what is later stays to come."""
    time = VirtualTime()
    time.at(2.0, lambda: call(time))
    time.at(3.0, lambda: None)

    time.wait(60.0)
    assert time.now_s == 2.0
    call(time)
    time.wait(60.0)
    assert time.now_s == 2.0
    time.wait(60.0)
    assert time.now_s == 62.0
