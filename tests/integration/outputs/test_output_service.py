# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the service of all outputs does when its file changes, and when one of them cannot begin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import pytest
from tests.fakes.waiting import until
from tests.fakes.web_receiver import receiving
from tests.integration.outputs.conftest import Line, until_state

from vision_line.config.output_load import load_outputs
from vision_line.outputs import delivery
from vision_line.outputs.delivery import RECORDS_RETRY_S
from vision_line.outputs.notification import Notification
from vision_line.outputs.webhook_sink import WebhookSink
from vision_line.reviews.reviews_file import FILE_NAME as REVIEWS


def webhook(name: str, url: str, kinds: str = '"event"') -> str:
    return f'''[[output]]
type = "webhook"
name = "{name}"
url = "{url}"
source = "/vision-line/line-1"
since = "all"
kinds = [{kinds}]
'''


async def test_a_change_while_it_starts_is_noticed(line: Line) -> None:
    """Between the reading of the file and the first turn: secrets, locks and files of cursors take their time."""
    event = line.event()
    with receiving() as before, receiving() as now:
        line.configure(webhook("mes", before.url))
        loaded = load_outputs(line.streams)
        line.configure(webhook("scada", now.url))
        async with line.serving(loaded):
            (said,) = await asyncio.to_thread(now.wait_for, 1)

    assert isinstance(said["data"], dict)
    assert said["data"]["event_id"] == event


async def test_a_file_that_is_being_written_takes_no_output_away(line: Line) -> None:
    """Half of it is valid, and lacks an output of the other half."""
    with receiving() as mes, receiving() as lab:
        half, whole = webhook("lab", lab.url), webhook("lab", lab.url) + webhook("mes", mes.url)
        line.configure(whole)
        async with line.serving() as service:
            line.event()
            await asyncio.to_thread(mes.wait_for, 1)
            before = service._running["mes"].task
            for written in range(12):
                line.configure(f"{half}# {'.' * written}")
                await asyncio.sleep(0.03)  # several times a turn of the service, and for fewer than it waits for
            line.configure(whole)
            await asyncio.sleep(0.5)
            line.event()
            await asyncio.to_thread(mes.wait_for, 2)
            assert service._running["mes"].task is before


async def test_one_that_cannot_begin_ends_no_other_and_begins_later(line: Line) -> None:
    """It asks for challenges, whose file is none: the outputs that are there go on."""
    foreign = line.directory / REVIEWS
    foreign.write_bytes(b"no SQLite file at all, but long enough to be taken for one" * 20)
    with receiving() as old, receiving() as new:
        line.configure(webhook("mes", old.url))
        async with line.serving() as service:
            line.event()
            await asyncio.to_thread(old.wait_for, 1)
            line.configure(webhook("mes", old.url) + webhook("lab", new.url, '"event", "challenge"'))
            await until(lambda: "lab" in service._troubles)
            line.event()
            await asyncio.to_thread(old.wait_for, 2)
            assert (list(service._troubles), new.posted) == (["lab"], [])
            foreign.unlink()
            assert len(await asyncio.to_thread(new.wait_for, 2)) == 2


async def test_a_journal_that_cannot_be_read_any_more_holds_nothing_else_up(line: Line) -> None:
    """The reviews' file is spoilt while an output follows it: its events go on, the other's state is noted."""
    with receiving() as mes, receiving() as lab:
        line.configure(webhook("lab", lab.url, '"event", "challenge"') + webhook("mes", mes.url))
        async with line.serving():
            line.event()
            await asyncio.to_thread(lab.wait_for, 1)
            spoilt = line.directory / REVIEWS
            for path in line.directory.glob(f"{REVIEWS}*"):
                path.unlink()
            spoilt.write_bytes(b"no SQLite file at all, but long enough to be taken for one" * 20)
            await until_state(line, "retrying", name="lab")
            for _ in range(4):
                line.event()
            began_s = time.monotonic()
            await asyncio.to_thread(lab.wait_for, 5)
            await asyncio.to_thread(mes.wait_for, 5)
            assert time.monotonic() - began_s < RECORDS_RETRY_S
            spoilt.unlink()
            await until_state(line, "connected", name="lab")


async def test_a_fault_of_the_program_in_one_output_is_that_outputs_alone(
    line: Line, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said with its place, and tried again; the others go on."""
    monkeypatch.setattr(delivery, "RECORDS_RETRY_S", 0.2)
    failing = [True]
    send = WebhookSink.send

    async def sending(self: WebhookSink, messages: Sequence[Notification]) -> None:
        if self._settings.name == "lab" and failing:
            raise ZeroDivisionError("a bug")
        await send(self, messages)

    monkeypatch.setattr(WebhookSink, "send", sending)
    with receiving() as mes, receiving() as lab:
        line.configure(webhook("lab", lab.url) + webhook("mes", mes.url))
        async with line.serving():
            line.event()
            await asyncio.to_thread(mes.wait_for, 1)
            await until_state(line, "retrying", name="lab")
            failing.clear()
            await asyncio.to_thread(lab.wait_for, 1)
            await until_state(line, "connected", name="lab")
    assert "a fault of the program: ZeroDivisionError: a bug" in caplog.text
    assert any(record.exc_info for record in caplog.records)


async def test_one_that_ends_slowly_has_ended_when_the_service_has(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is told to end while it waits for one that is not wanted any more."""
    ending, has_ended, close = asyncio.Event(), [False], WebhookSink.close

    async def closing(self: WebhookSink) -> None:
        ending.set()
        try:
            await asyncio.sleep(0.5)
        finally:
            await close(self)
            has_ended[0] = True

    monkeypatch.setattr(WebhookSink, "close", closing)
    with receiving() as mes:
        line.configure(webhook("mes", mes.url))
        async with line.serving():
            line.event()
            await asyncio.to_thread(mes.wait_for, 1)
            line.configure(webhook("other", mes.url))
            await ending.wait()
        assert has_ended == [True]
