# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run asks what its baselines have waited for: it says what is silent, and that nobody knows where it cannot ask."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing

import pytest
from tests.fakes.waiting import wait_for

from vision_line.errors import RunError
from vision_line.telemetry import baseline_watch
from vision_line.telemetry.baseline_watch import BaselineWatch, SilenceStatus, WatchedBaseline

BLIND = WatchedBaseline("camera cam01, all classes", 8.0, is_silent=True)
LANE = WatchedBaseline("lane a, all recipes", 7.0, is_silent=True)
WELL = WatchedBaseline("camera cam02, all classes", 1.0, is_silent=False)


class Records:
    """Answers what it is told to; an exception is raised."""

    def __init__(self, *answer: WatchedBaseline) -> None:
        self.answer: Sequence[WatchedBaseline] | Exception = answer
        self.asked = 0

    def __call__(self) -> Sequence[WatchedBaseline]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_what_is_silent_is_one_sentence_that_stays_the_same() -> None:
    """Whoever passes alarms on would otherwise send one each minute."""
    later = WatchedBaseline(BLIND.name, 30.0, is_silent=True)
    (said,) = SilenceStatus((BLIND, WELL, LANE)).alarms
    assert said == (
        "suspiciously low, look at camera, lamp and product: camera cam01, all classes; lane a, all recipes"
    )
    assert SilenceStatus((later, WELL, LANE)).alarms == [said]
    assert not SilenceStatus((WELL,)).alarms


def test_it_asks_at_once_and_again() -> None:
    """A run that was restarted knows what was silent before it."""
    records = Records(BLIND, WELL)
    with closing(BaselineWatch(records, 0.01)) as watch:
        wait_for(lambda: watch.status().baselines == (BLIND, WELL))
        records.answer = (WELL,)
        wait_for(lambda: watch.status().baselines == (WELL,))
    assert "baselines" not in {thread.name for thread in threading.enumerate()}


def test_records_that_never_answer_are_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known is of before; once they answer, that counts."""
    monkeypatch.setattr(baseline_watch, "HANGS_S", 0.05)
    answers = threading.Event()

    def ask() -> Sequence[WatchedBaseline]:
        answers.wait(40)
        return (BLIND,)

    with closing(BaselineWatch(ask, 3600.0)) as watch:
        wait_for(lambda: watch.status().unknown == "the records do not answer")
        answers.set()
        wait_for(lambda: watch.status() == SilenceStatus((BLIND,)))


@pytest.mark.parametrize(
    ("fault", "said"),
    [(RunError("reviews.sqlite: damaged"), "reviews.sqlite: damaged"), (KeyError("x"), "a fault of the program")],
)
def test_where_it_cannot_ask_it_says_so_and_what_was_silent_stays(
    fault: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And it goes on asking."""
    records = Records(BLIND)
    with closing(BaselineWatch(records, 0.01)) as watch:
        wait_for(lambda: bool(watch.status().baselines))
        records.answer = fault
        wait_for(lambda: bool(watch.status().unknown))
        assert watch.status().baselines == (BLIND,)
        assert [said in alarm for alarm in watch.status().alarms] == [False, True]
        asked = records.asked
        wait_for(lambda: records.asked > asked + 2)
        records.answer = (WELL,)
        wait_for(lambda: watch.status() == SilenceStatus((WELL,)))
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 2  # each once, however often it was asked
    assert said in warned[1]


def test_without_anybody_to_ask_nothing_is_watched() -> None:
    with closing(BaselineWatch(None)) as watch:
        assert watch.status() == SilenceStatus()
