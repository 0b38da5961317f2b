# SPDX-License-Identifier: AGPL-3.0-or-later
"""A box's time stops with each step, in the middle of work too, and ends from there."""

from __future__ import annotations

import threading

from benchmarks.stepped_time import SteppedTime


def test_a_step_ends_in_a_wait_and_in_the_middle_of_work() -> None:
    """What happens is what is due until then; a release lets the thread come to its end."""
    time, happened = SteppedTime(), list[str]()
    time.at(0.5, lambda: happened.append("in the wait"))
    time.at(1.5, lambda: happened.append("in the work"))
    time.at(2.5, lambda: happened.append("after it"))

    def work() -> None:
        time.wait(1.0)
        time.spend(1.2)
        happened.append("worked")

    thread = threading.Thread(target=work)
    thread.start()
    time.await_arrival()
    assert happened == []
    time.step(0.6)
    assert (happened, time.now_s) == (["in the wait"], 0.6)
    time.step(1.4)
    assert (happened, time.now_s) == (["in the wait"], 1.4)
    time.step(2.0)
    assert happened == ["in the wait", "in the work"]
    time.release()
    thread.join(40)

    assert not thread.is_alive()
    assert (happened[2:], time.now_s) == (["worked"], 2.2)


def test_a_notification_between_steps_ends_the_wait() -> None:
    """As a command does that comes from outside the box."""
    time, ended_s = SteppedTime(), list[float]()

    def work() -> None:
        time.wait(10.0)
        ended_s.append(time.now_s)
        time.wait(10.0)

    thread = threading.Thread(target=work)
    thread.start()
    time.await_arrival()
    time.step(1.0)
    time.notify()
    time.step(2.0)
    assert ended_s == [1.0]
    time.notify()
    time.release()
    thread.join(40)
    assert not thread.is_alive()
