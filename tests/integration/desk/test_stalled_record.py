# SPDX-License-Identifier: AGPL-3.0-or-later
"""While records stand still, the first page asks the run itself why."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fakes.desk import desk_over
from tests.fakes.desk_records import BEGAN_UTC, writing
from tests.fakes.feeds import FACTS

from vision_line.feed.feed_server import FeedServer

FULL = {"log_writable": False, "log_reason": "the disk is full"}
FINE = {"log_writable": True, "log_reason": ""}


@contextmanager
def feed_that_says(directory: Path, header: dict[str, object]) -> Iterator[None]:
    """Serve a run's feed whose snapshots are these."""
    feed, ended = FeedServer(FACTS), threading.Event()
    feed.open(directory)

    def offer() -> None:
        while not ended.wait(0.02):
            feed.offers.snapshot(header)

    thread = threading.Thread(target=offer)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        feed.close()


def shown_now(directory: Path, alive_ago_s: float) -> str:
    """Return what the first page says of now, of a run whose last commit was so long ago."""
    now_s = time.time() - BEGAN_UTC
    with writing(directory) as rows:
        rows.run(now_s - 600, None, "cam01", alive_s=now_s - alive_ago_s)
    with desk_over(directory) as desk:
        desk.sign_in()
        return desk.client.get("/").text.partition('aria-label="Now"')[2].partition("</section>")[0]


def test_a_record_that_cannot_be_written_is_said_by_the_run(tmp_path: Path) -> None:
    """Nothing of it can be in the records."""
    with feed_that_says(tmp_path, FULL):
        assert "Results cannot be recorded, so no camera is inspected: the disk is full" in shown_now(tmp_path, 20)


@pytest.mark.parametrize(("header", "alive_ago_s"), [(FINE, 20.0), (FULL, 1.0)])
def test_nothing_is_said_of_a_run_that_is_only_slow_or_has_just_written(
    tmp_path: Path, header: dict[str, object], alive_ago_s: float
) -> None:
    with feed_that_says(tmp_path, header):
        assert "Every camera of the run is inspected now" in shown_now(tmp_path, alive_ago_s)


@pytest.mark.parametrize(("alive_ago_s", "said"), [(20.0, "Every camera"), (90.0, "it has died or hangs")])
def test_where_nobody_answers_it_is_dead_after_a_while(tmp_path: Path, alive_ago_s: float, said: str) -> None:
    assert said in shown_now(tmp_path, alive_ago_s)
