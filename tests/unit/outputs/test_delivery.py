# SPDX-License-Identifier: AGPL-3.0-or-later
"""One output's life, with a sink that does as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.fakes.desk_records import writing
from tests.fakes.waiting import until

from vision_line.config.output_settings import OutputSettings
from vision_line.outputs.cursor_file import CursorFile
from vision_line.outputs.delivery import Delivery
from vision_line.outputs.follower import Follower
from vision_line.outputs.journal_source import JournalSource
from vision_line.outputs.line_alarms import AlarmNews, LineAlarms
from vision_line.outputs.message_sink import ShownState, SinkError, SinkTrouble
from vision_line.outputs.notification import Notification
from vision_line.task_ending import end_tasks

EVENTS = 50


@dataclass
class Sink:
    """The other side; `cuts` are how many times it ends a connection with what was sent, and fails to say goodbye."""

    cuts: int = 0
    kinds: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    window = 4
    connects = True
    turn_s = 0.01

    async def connect(self) -> None: ...

    async def send(self, messages: Sequence[Notification]) -> None:
        if self.cuts:
            raise SinkError(SinkTrouble.LOST, "cut")
        self.kinds += [said.kind for said in messages]
        self.ids += [said.id for said in messages]

    async def show(self, state: ShownState) -> None: ...

    def check(self) -> None: ...

    async def close(self) -> None:
        if self.cuts:
            self.cuts -= 1
            raise ConnectionResetError("the other side was faster")


async def delivered(directory: Path, sink: Sink, count: int, alarms: AlarmNews | None = None) -> None:
    """Deliver events until the other side has so many messages."""
    with writing(directory) as rows:
        run = rows.run(0, None, "cam1")
        for number in range(EVENTS):
            rows.event(run, "cam1", float(number))
        settings = OutputSettings(name="plant", kinds=["event", "alarm"], since="all")
        with closing(JournalSource(directory)) as source, closing(CursorFile(directory)) as cursors:
            followers = [Follower(settings, source, cursors)]
            delivery = Delivery("plant", followers, ShownState, cursors, lambda: sink, alarms)
            task = asyncio.create_task(delivery.run())
            try:
                await until(lambda: task.done() or len(sink.kinds) >= count, lambda: sink.kinds)
            finally:
                await end_tasks(task)


async def test_alarms_of_now_do_not_wait_behind_a_backlog(tmp_path: Path) -> None:
    """They are raised now, and what was recorded while the other side was away takes hours."""
    sink = Sink()
    await delivered(tmp_path, sink, EVENTS + 1, AlarmNews(lambda: LineAlarms("run", ("cam1: AUTH_FAILED",))))
    assert sink.kinds == [*["event"] * sink.window, "alarm", *["event"] * (EVENTS - sink.window)]


async def test_a_goodbye_that_fails_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends neither this output nor, with the process, all the others."""
    monkeypatch.setattr("vision_line.outputs.retry_delay.SHORTEST_S", 0.01)
    sink = Sink(cuts=2)
    await delivered(tmp_path, sink, EVENTS)
    assert len(set(sink.ids)) == len(sink.ids) == EVENTS
    assert "a fault of the program at its goodbye" in caplog.text
