# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages reach a real HTTP server, whatever it does: it fails, hangs, answers late, lies, asks for time, is gone."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Iterator

import pytest
from tests.fakes.ports import free_port
from tests.fakes.waiting import until
from tests.fakes.web_receiver import WebReceiver, receiving
from tests.integration.outputs.conftest import Line, until_state

from vision_line.cli.outputs import print_status
from vision_line.outputs import retry_delay
from vision_line.outputs.message_sink import TURN_S
from vision_line.outputs.webhook_sink import refusal
from vision_line.telemetry.output_status import known_outputs

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebReceiver]:
    monkeypatch.setattr(retry_delay, "SHORTEST_S", 0.05)
    with receiving() as made:
        yield made


def webhook(url: str, more: str = "", timeout_s: float = 20.0) -> str:
    return f'''[[output]]
type = "webhook"
name = "mes"
url = "{url}"
source = "/vision-line/hall-2/line-1"
since = "all"
kinds = ["event"]
timeout_s = {timeout_s}
{more}
'''


async def test_cloud_events_one_by_one_and_signed(line: Line, server: WebReceiver) -> None:
    """Structured mode; the signature holds over id, time and the body as it came."""
    line.configure(webhook(server.url, f'secret = "{SECRET}"'))
    wanted = [line.event() for _ in range(5)]
    async with line.serving():
        events = await asyncio.to_thread(server.wait_for, 5)
    first, posted = events[0], server.posted[0]
    signed = f"{posted.headers['webhook-id']}.{posted.headers['webhook-timestamp']}.".encode() + posted.body
    signature = base64.b64encode(hmac.digest(b"k" * 32, signed, hashlib.sha256)).decode()
    data = first["data"]

    assert isinstance(data, dict)
    assert [event["data"]["event_id"] for event in events if isinstance(event["data"], dict)] == wanted
    assert posted.headers["content-type"].startswith("application/cloudevents+json")
    assert posted.headers["webhook-signature"] == f"v1,{signature}"
    assert (first["specversion"], first["source"]) == ("1.0", "/vision-line/hall-2/line-1")
    assert (first["type"], first["subject"]) == ("vision-line.event.v1", "cam1")
    assert first["id"] == posted.headers["webhook-id"] == data["id"]


async def test_a_token_in_the_url_is_nowhere_in_the_log(
    line: Line, server: WebReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither of a request that is taken nor of one that is not, and nothing is said of what goes well."""
    caplog.set_level(logging.DEBUG)
    line.configure(webhook(f"{server.url}/T0KEN-in-the-path?key=T0KEN-in-the-query"))
    line.event()
    async with line.serving():
        await asyncio.to_thread(server.wait_for, 1)
        server.answer = 500
        line.event()
        await until_state(line, "retrying", "REFUSED")

    assert "T0KEN" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("http")]


async def test_a_token_that_comes_back_is_nowhere_either(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    """The port belongs to something else, which sends back what it gets; libraries quote that as a wrong answer."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(65_536))
        await writer.drain()
        writer.close()

    caplog.set_level(logging.DEBUG)
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        line.configure(webhook(f"http://127.0.0.1:{port}/T0KEN-in-the-path?key=T0KEN-in-the-query"))
        line.event()
        async with line.serving():
            state = await until_state(line, "retrying", "LOST")

    assert state.error == "LOST: what came is no answer of a web server"
    assert "T0KEN" not in caplog.text


async def test_batches(line: Line, server: WebReceiver) -> None:
    """Up to so many in a request, in their order."""
    line.configure(webhook(server.url, "batch = 20"))
    wanted = [line.event() for _ in range(50)]
    async with line.serving():
        events = await asyncio.to_thread(server.wait_for, 50)

    assert [event["data"]["event_id"] for event in events if isinstance(event["data"], dict)] == wanted
    assert [len(posted.events) for posted in server.posted] == [20, 20, 10]
    assert server.posted[0].headers["content-type"].startswith("application/cloudevents-batch+json")


@pytest.mark.parametrize(
    ("answer", "error"),
    [(500, "REFUSED"), (503, "BUSY"), (302, "redirects"), ("hang", "TIMEOUT"), ("drop", "LOST"), (404, "REFUSED")],
)
async def test_what_fails_is_sent_again_until_it_is_taken(
    line: Line, server: WebReceiver, answer: int | str, error: str
) -> None:
    """The same request with the same id."""
    line.configure(webhook(server.url, timeout_s=0.5 if answer == "hang" else 20.0))
    server.answer = answer
    server.answer_headers = {"location": f"{server.url}/elsewhere"} if answer == 302 else {}
    wanted = line.event()
    async with line.serving():
        await asyncio.to_thread(server.wait_for_requests, 2)
        await until_state(line, "retrying", error)
        server.answer = 204
        server.let_go.set()
        (event,) = await asyncio.to_thread(server.wait_for, 1)
        await until_state(line, "connected")

    assert isinstance(event["data"], dict)
    assert event["data"]["event_id"] == wanted
    assert len({posted.headers["webhook-id"] for posted in server.posted}) == 1


@pytest.mark.parametrize("answer", ["short", "held", "long"])
async def test_a_server_that_lies_about_length_has_taken_it_all_the_same(
    line: Line, server: WebReceiver, answer: str
) -> None:
    """The status is the answer; what follows it is not waited for."""
    line.configure(webhook(server.url))
    server.answer = answer
    line.event()
    line.event()
    async with line.serving():
        events = await asyncio.to_thread(server.wait_for, 2)

    assert len({str(event["id"]) for event in events}) == len(server.posted) == 2


@pytest.mark.parametrize(
    ("asked", "wait_s"),
    [
        ("120", 120.0),
        (" 5 ", 5.0),
        ("\N{SUPERSCRIPT TWO}", None),
        ("soon", None),
        ("-1", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
    ],
)
def test_what_a_server_asks_to_wait_is_a_number_or_nothing(asked: str, wait_s: float | None) -> None:
    assert refusal(503, asked, 0.0).retry_after_s == wait_s


async def test_a_slow_server_is_waited_for(line: Line, server: WebReceiver) -> None:
    """Within the limit."""
    line.configure(webhook(server.url))
    server.late_s = 0.2
    for _ in range(3):
        line.event()
    async with line.serving():
        await asyncio.to_thread(server.wait_for, 3)

    assert len(server.posted) == 3


async def test_gone_ends_it(line: Line, server: WebReceiver) -> None:
    """Until the configuration changes or a restart; nothing moves on."""
    line.configure(webhook(server.url))
    server.answer = 410
    line.event()
    async with line.serving():
        state = await until_state(line, "disabled")
        await asyncio.sleep(2 * TURN_S)
    asked = len(server.posted)
    server.answer = 204
    async with line.serving():
        await asyncio.to_thread(server.wait_for, 1)

    assert state.error is not None
    assert "410 Gone" in state.error
    assert asked == 1


async def test_it_waits_as_long_as_it_is_asked_to(line: Line, server: WebReceiver) -> None:
    """429 with Retry-After."""
    line.configure(webhook(server.url))
    server.answer, server.answer_headers = 429, {"retry-after": "1"}
    line.event()
    async with line.serving():
        first, second, *_ = await asyncio.to_thread(server.wait_for_requests, 2)

    assert second.at_s - first.at_s >= 0.99


async def test_nobody_there(line: Line, server: WebReceiver) -> None:
    """And a password in the URL is not shown."""
    line.configure(webhook(f"http://user:s3cret@127.0.0.1:{free_port()}/"))
    line.event()
    async with line.serving():
        state = await until_state(line, "retrying", "UNREACHABLE")

    assert "s3cret" not in str(state.error)


async def test_a_server_that_was_asked_nothing_is_not_called_connected(
    line: Line, server: WebReceiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ready` until it acknowledges a message; that is no trouble either."""
    line.configure(webhook(server.url))
    async with line.serving():
        await until_state(line, "ready")
        print_status(line.directory, as_json=False)
        assert "mes: ready, nothing sent or answered yet since" in capsys.readouterr().out
        assert [
            output.is_running(time.time()) and output.takes_messages for output in known_outputs(line.directory)
        ] == [True]
        line.event()
        await until_state(line, "connected")


async def test_a_library_that_is_missing_at_a_reload_ends_nothing(
    line: Line, server: WebReceiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is refused as a whole, and what was in force goes on."""
    line.configure(webhook(server.url))
    async with line.serving():
        await until_state(line, "ready")
        monkeypatch.setattr("vision_line.outputs.sinks.find_spec", lambda library: None)
        line.configure(webhook(server.url) + webhook(server.url).replace('name = "mes"', 'name = "other"'))
        await until(lambda: "are not used" in caplog.text)
        wanted = line.event()
        (event,) = await asyncio.to_thread(server.wait_for, 1)

    assert "needs httpx" in caplog.text
    assert isinstance(event["data"], dict)
    assert event["data"]["event_id"] == wanted
