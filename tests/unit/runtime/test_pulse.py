# SPDX-License-Identifier: AGPL-3.0-or-later
"""A beat that comes late, and what that means."""

from __future__ import annotations

import time

import pytest

from vision_line.runtime.ledger_updater import Pulse, was_paused


@pytest.mark.parametrize(
    ("passed_s", "cpu_s", "paused"),
    [
        (0.2, 0.0, False),  # idle, and in time
        (1.1, 0.0, False),  # a little late
        (20.0, 0.01, True),  # stopped
        (4.2, 1.2, True),  # stopped, and busy on four cores right before and after
        (20.0, 3.0, True),  # starved
        (20.0, 35.0, False),  # the event loop was held up; two threads worked
    ],
)
def test_a_pause_is_a_beat_that_is_late_without_work(passed_s: float, cpu_s: float, paused: bool) -> None:
    """Lateness alone is no pause: cameras may be inspected by other threads meanwhile."""
    assert was_paused(passed_s, cpu_s, 0.2, 4) is paused


def test_the_clocks_of_a_beat_belong_together() -> None:
    """A beat tells the present."""
    beat = Pulse(0.2).beat()

    assert beat.utc - beat.s == pytest.approx(time.time() - time.monotonic(), abs=5)
    assert beat.asleep_s >= -0.01


def test_one_who_asks_in_time_hears_of_no_pause() -> None:
    """Two questions, one right after the other."""
    pulse = Pulse(0.2)

    assert pulse.pause() is None
    assert pulse.pause() is None
