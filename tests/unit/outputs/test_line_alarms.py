# SPDX-License-Identifier: AGPL-3.0-or-later
"""The line's alarms: from a real feed, through runs that come, hang and go; what an output is told of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.feeds import FACTS

from vision_line.feed.feed_server import FeedServer
from vision_line.outputs.line_alarms import HANGS, REFRESH_S, AlarmNews, AlarmWatch, LineAlarms


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[AlarmWatch]:
    made = AlarmWatch(tmp_path, retry_s=0.02, silent_s=1.0)
    yield made
    made.close()


def until(watch: AlarmWatch, wanted: LineAlarms, meanwhile: Callable[[], object] = lambda: None) -> None:
    deadline_s = time.monotonic() + 30
    while watch.now() != wanted:
        assert time.monotonic() < deadline_s, watch.now()
        meanwhile()
        time.sleep(0.02)


def test_runs_come_hang_and_go(tmp_path: Path, watch: AlarmWatch) -> None:
    until(watch, LineAlarms(None))
    for _ in range(2):
        feed = FeedServer(FACTS)
        feed.open(tmp_path)
        with closing(feed):
            say_until(feed, watch, "cam1: AUTH_FAILED")
            until(watch, LineAlarms(FACTS.run, (HANGS,)))
            say_until(feed, watch)
        until(watch, LineAlarms(None))


def say_until(feed: FeedServer, watch: AlarmWatch, *alarms: str) -> None:
    said = {"alarms": list(alarms)}
    until(watch, LineAlarms(FACTS.run, alarms), lambda: feed.offers.snapshot(said))


def test_other_alarms_are_said_at_once_and_other_figures_seldom() -> None:
    """Until somebody has it, it is due; what the other side may have lost is due again."""
    now_s, alarms = [100.0], [LineAlarms("r", ("not inspected for 3 s (capacity): cam1",))]
    news = AlarmNews(lambda: alarms[0], lambda: now_s[0])

    def taken() -> object:
        said = news.due()
        if said is not None:
            news.said(said)
        return None if said is None else said.content["alarms"]

    assert news.due() is not None
    assert taken() == ["not inspected for 3 s (capacity): cam1"]
    assert taken() is None
    alarms[0] = LineAlarms("r", ("not inspected for 4 s (capacity): cam1",))
    assert taken() is None
    now_s[0] += REFRESH_S
    assert taken() == ["not inspected for 4 s (capacity): cam1"]
    alarms[0] = LineAlarms("r", ("not inspected for 5 s (capacity): cam2",))
    assert taken() == ["not inspected for 5 s (capacity): cam2"]
    alarms[0] = LineAlarms("r")
    assert taken() == []
    news.begin_anew()
    assert taken() == []
    alarms[0] = LineAlarms(None)
    said = news.due()
    assert said is not None
    assert said.content == {"run": None, "is_running": False, "alarms": []}


def test_nothing_is_said_before_anybody_has_looked() -> None:
    """A run that is there would be said to be none."""
    assert AlarmNews(lambda: None).due() is None
