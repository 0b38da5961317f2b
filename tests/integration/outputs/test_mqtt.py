# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages reach a real broker: topics, retained states, last will, kills, cuts, takeovers, TLS, refusals."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.broker import Broker, CutProxy, Subscriber, running_broker
from tests.fakes.feeds import FACTS
from tests.fakes.made_parts import enter_part
from tests.fakes.narrow_broker import NarrowBroker
from tests.fakes.ports import free_port
from tests.fakes.waiting import until
from tests.integration.outputs.conftest import Line, until_state

from vision_line.config.output_load import load_outputs
from vision_line.config.output_settings import MqttOutput
from vision_line.feed.feed_server import FeedServer
from vision_line.outputs.message_sink import SinkError, SinkTrouble
from vision_line.outputs.mqtt_client import open_client
from vision_line.outputs.mqtt_sink import MqttSink
from vision_line.outputs.notification import Notification
from vision_line.outputs.output_probe import probe_output
from vision_line.parts.orders import Asked, ask_lot, ask_recipe
from vision_line.parts.part import PartVerdict
from vision_line.records.schema import transaction
from vision_line.telemetry.output_status import OutputState, known_outputs


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[Subscriber]:
    made = Subscriber(broker.port)
    yield made
    made.close()


def mqtt(port: int, more: str = "") -> str:
    return f"""[[output]]
type = "mqtt"
name = "plant"
url = "mqtt://127.0.0.1:{port}"
topic = "acme/line-1"
since = "all"
{more}
"""


def state_of(line: Line) -> OutputState:
    (output,) = known_outputs(line.directory)
    assert output.state is not None
    return output.state


async def waited(subscriber: Subscriber, ending: str, count: int, limit_s: float = 40) -> list[dict[str, object]]:
    found = await asyncio.to_thread(subscriber.wait_for, ending, count, limit_s)
    return [message.content for message in found]


def made_passwords(folder: Path) -> Path:
    """Return a file by which `line` has the password `right`."""
    passwords = folder / "passwords"
    passwords.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", passwords, "line", "right"], check=True)
    return passwords


def made_certificates(folder: Path) -> Path:
    """Return a folder with two certificates of 127.0.0.1, `right` and `wrong`, and their keys."""
    made = folder / "made"
    made.mkdir()
    holder = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    for name in ("right", "wrong"):
        files = ["-keyout", f"{made}/{name}.key", "-out", f"{made}/{name}.pem"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *holder, *files]
        subprocess.run(command, check=True, capture_output=True)
    return made


async def test_events_in_order_and_states_retained(line: Line, broker: Broker, subscriber: Subscriber) -> None:
    """Events are not retained; states, open intervals and the status are, and go when they are over."""
    line.configure(mqtt(broker.port))
    line.rows.state(line.run, "cam1", "RUNNING", 1.0)
    line.rows.gap(line.run, "cam1", "capacity", 4.0, None)
    wanted = [line.event() for _ in range(50)]
    async with line.serving():
        events = await waited(subscriber, "cam1/event", 50)
        await waited(subscriber, "cam1/not_inspected", 1)
        await until_state(line, "connected")
        await asyncio.sleep(0.3)
        late = Subscriber(broker.port, client_id="late")
        for ending in ("cam1/state", "cam1/not_inspected", "run", "status"):
            await waited(late, ending, 1)
        retained = {message.topic: message.content for message in late.received}
        with_events = late.of("/event")
        with transaction(line.rows.connection):
            line.rows.connection.execute("UPDATE not_inspected SET ended_utc = 1795896009.0, ended_s = 9.0")
        await until(lambda: not all(message.payload for message in late.of("cam1/not_inspected")), "it is taken back")
        late.close()
    gone = Subscriber(broker.port, client_id="gone")
    await waited(gone, "status", 1)

    assert [event["event_id"] for event in events] == wanted
    assert all(not message.retain for message in subscriber.of("/event"))
    assert not with_events
    assert retained["acme/line-1/status"]["state"] == "online"
    assert retained["acme/line-1/cam1/state"]["state"] == "RUNNING"
    assert retained["acme/line-1/cam1/not_inspected"]["cause"] == "capacity"
    assert retained["acme/line-1/run"]["run"] == "run at 0"
    assert not gone.of("cam1/not_inspected")
    assert gone.of("status")[0].content["state"] == "offline"
    gone.close()


@pytest.mark.parametrize(
    ("asks", "shown"),
    [
        ('kinds = ["event"]', {"status"}),
        ('cameras = ["cam2"]', {"status", "run", "cam2/state"}),
        ('kinds = ["interval"]', {"status", "cam1/not_inspected"}),
    ],
)
async def test_only_what_is_asked_for_is_retained(line: Line, broker: Broker, asks: str, shown: set[str]) -> None:
    """A topic that is never renewed would go on to say what was once."""
    line.configure(mqtt(broker.port, asks))
    topics = {f"acme/line-1/{name}" for name in shown}
    for camera in ("cam1", "cam2"):
        line.rows.state(line.run, camera, "RUNNING", 1.0)
    line.rows.gap(line.run, "cam1", "capacity", 4.0, None)
    async with line.serving():
        await until_state(line, "connected")
        await asyncio.sleep(0.3)
        late = Subscriber(broker.port, client_id="late")
        await until(lambda: {message.topic for message in late.received} >= topics, lambda: late.received)
        await asyncio.sleep(0.3)
        late.close()

    assert {message.topic for message in late.received if message.retain} == topics


async def test_a_broker_that_is_killed_gets_everything(line: Line, broker: Broker, subscriber: Subscriber) -> None:
    """In order, twice at most what was on its way; the status is online again."""
    line.configure(mqtt(broker.port))
    wanted: list[str] = []
    async with line.serving():
        wanted += [line.event() for _ in range(30)]
        await waited(subscriber, "cam1/event", 30)
        broker.kill()
        wanted += [line.event() for _ in range(100)]
        await until_state(line, "retrying")
        broker.start()
        events = await waited(subscriber, "cam1/event", 130)
        await until_state(line, "connected")
    ids = [str(event["event_id"]) for event in events]
    # A broker that comes back gives its subscriber again what that had not acknowledged: not ours.
    sent = [message for message in subscriber.of("cam1/event") if not message.is_redelivered]

    assert list(dict.fromkeys(ids)) == wanted
    assert len(sent) <= 150


async def test_a_broker_that_takes_few_at_once_gets_everything(line: Line) -> None:
    """It says so when it is connected to, and ends the connection of who sends more."""
    broker = NarrowBroker(most=3)
    async with await asyncio.start_server(broker.serve, "127.0.0.1", 0) as server:
        line.configure(mqtt(server.sockets[0].getsockname()[1], 'kinds = ["event"]'))
        for _ in range(30):
            line.event()
        async with line.serving():
            await until(lambda: sum(topic.endswith("/event") for topic in broker.topics) == 30)
    assert (broker.largest, broker.is_exceeded) == (3, False)
    assert sum(topic.endswith("/event") for topic in broker.topics) == 30


async def test_a_window_waits_for_its_own_acknowledgements(line: Line) -> None:
    """Also where it has to wait for the place of something else, as the answer to a command is."""
    broker = NarrowBroker(most=2, late_s=None)
    async with await asyncio.start_server(broker.serve, "127.0.0.1", 0) as server:
        line.configure(mqtt(server.sockets[0].getsockname()[1]))
        settings = load_outputs(line.streams).enabled["plant"]
        assert isinstance(settings, MqttOutput)
        client = await open_client(settings, "plant")
        answer = asyncio.create_task(client.publish("answer", b"", 1))
        await until(lambda: broker.topics == ["answer"])
        window = asyncio.create_task(client.publish_all([("one", b"", False), ("two", b"", False)]))
        await asyncio.sleep(0)  # it waits for a place
        broker.acknowledge_next()
        await answer
        await until(lambda: broker.topics == ["answer", "one", "two"])
        assert not window.done()
        broker.acknowledge_next()
        broker.acknowledge_next()
        await window
        await client.__aexit__(None, None, None)


async def test_a_connection_that_ends_while_it_is_written_to_is_an_end_and_nothing_more(
    line: Line, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """Found out by writing, before the event loop has seen it: no file number that is none is waited for."""
    line.configure(mqtt(broker.port))
    (settings,) = load_outputs(line.streams).enabled.values()
    assert settings.type == "mqtt"
    sink = MqttSink(settings, "writer")
    await sink.connect()
    assert sink._client is not None
    connection = sink._client._client.socket()
    assert isinstance(connection, socket.socket)
    connection.shutdown(socket.SHUT_WR)
    said = Notification("0:1", 1, "event", 1_795_896_009.0, {"event_id": "E1"}, camera="cam1")

    with pytest.raises(SinkError) as raised:
        await sink.send([said])
    await sink.close()
    assert raised.value.trouble is SinkTrouble.LOST
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_a_silent_cut_is_noticed_and_nothing_is_lost(line: Line, broker: Broker, subscriber: Subscriber) -> None:
    """Packets vanish without a word: an acknowledgement that does not come ends the connection."""
    proxy = CutProxy(broker.port)
    line.configure(mqtt(proxy.port, "timeout_s = 1.0"))
    wanted: list[str] = []
    try:
        async with line.serving():
            wanted += [line.event() for _ in range(30)]
            await waited(subscriber, "cam1/event", 30)
            proxy.is_cut = True
            wanted += [line.event() for _ in range(30)]
            await until_state(line, "retrying", "TIMEOUT")
            proxy.is_cut = False
            events = await waited(subscriber, "cam1/event", 60)
    finally:
        proxy.close()
    ids = [str(event["event_id"]) for event in events]

    assert list(dict.fromkeys(ids)) == wanted
    assert len(ids) - len(wanted) <= 20


async def test_a_client_with_the_same_id_is_said(line: Line) -> None:
    """Two outputs of one id would kick each other out for ever: the slow lane, and words that say why."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x03\x00\x00\x00")  # connected
        await reader.read(1000)
        writer.write(b"\xe0\x01\x8e")  # as version 5 has it: session taken over; mosquitto 2.0 just closes
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line.configure(mqtt(server.sockets[0].getsockname()[1]))
    async with server, line.serving():
        state = await until_state(line, "retrying")

    assert state.error is not None
    assert state.error.startswith("TAKEN_OVER")


async def test_the_last_will_says_offline_when_the_connection_breaks(
    line: Line, broker: Broker, subscriber: Subscriber
) -> None:
    """Retained, so that whoever comes later knows too."""
    proxy = CutProxy(broker.port)
    line.configure(mqtt(proxy.port))
    try:
        async with line.serving():
            await until_state(line, "connected")
            await asyncio.to_thread(proxy.close)
            await until(lambda: [one for one in subscriber.of("status") if one.content["state"] == "offline"])
    finally:
        if proxy._thread.is_alive():
            proxy.close()
    offline = [one.content for one in subscriber.of("status") if one.content["state"] == "offline"]

    assert offline
    assert offline[0]["reason"] == "connection lost"


async def test_wrong_passwords_go_slowly_and_are_not_shown(line: Line, tmp_path: Path) -> None:
    """AUTH_FAILED; neither the state nor a probe has the password."""
    passwords = made_passwords(tmp_path)
    with running_broker(tmp_path / "broker", f"allow_anonymous false\npassword_file {passwords}\n") as broker:
        line.configure(mqtt(broker.port).replace("mqtt://", "mqtt://line:s3cr%40t@"))
        async with line.serving():
            state = await until_state(line, "retrying")
        with pytest.raises(SinkError) as refused:
            await probe_output(load_outputs(line.streams).outputs[0], line.directory)
        line.configure(mqtt(broker.port).replace("mqtt://", "mqtt://line:right@"))
        async with line.serving():
            await until_state(line, "connected")

    assert state.error is not None
    assert state.error.startswith("AUTH_FAILED")
    assert "s3cr" not in state.error + str(refused.value)


async def test_a_message_that_the_broker_refuses_is_not_lost(line: Line, tmp_path: Path) -> None:
    """Version 5 says so with the acknowledgement; nothing moves on."""
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite acme/line-1/status\n", encoding="utf-8")
    with running_broker(tmp_path / "broker", f"allow_anonymous true\nacl_file {rules}\n") as broker:
        line.configure(mqtt(broker.port))
        line.event()
        async with line.serving():
            state = await until_state(line, "retrying", "AUTH_FAILED")
    (output,) = known_outputs(line.directory)

    assert state.behind > 0
    assert output.sent == 0


@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_tls_is_verified(line: Line, tmp_path: Path) -> None:
    """By the given CA; a certificate of somebody else, or without one, is refused."""
    made = made_certificates(tmp_path)
    extra = f"allow_anonymous true\ncertfile {made}/right.pem\nkeyfile {made}/right.key\n"
    with running_broker(tmp_path / "broker", extra) as broker:
        for ca, outcome in (("right", "connected"), ("wrong", "retrying")):
            line.configure(mqtt(broker.port, f'ca = "{made}/{ca}.pem"').replace("mqtt://", "mqtts://"))
            async with line.serving():
                state = await until_state(line, outcome)

    gc.collect()  # the library lets go of a socket whose handshake failed, and does not close it

    assert state.error is not None
    assert state.error.startswith("TLS_FAILED")


async def test_a_probe_reads_its_own_message(line: Line, broker: Broker) -> None:
    """And says of a broker that is not there that it cannot be reached."""
    line.configure(mqtt(broker.port))
    await probe_output(load_outputs(line.streams).outputs[0], line.directory)
    line.configure(mqtt(free_port()))
    with pytest.raises(SinkError, match="UNREACHABLE"):
        await probe_output(load_outputs(line.streams).outputs[0], line.directory)
    line.configure(mqtt(1883).replace("127.0.0.1", "no-such-host.invalid"))
    with pytest.raises(SinkError, match="NAME_UNKNOWN"):
        await probe_output(load_outputs(line.streams).outputs[0], line.directory)


async def test_an_old_broker_is_spoken_to_by_the_older_version(
    line: Line, broker: Broker, subscriber: Subscriber
) -> None:
    """What refuses version 5 gets 3.1.1."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            packet = await reader.read(4096)
            if packet[packet.index(b"MQTT") + 4] == 5:
                writer.write(b"\x20\x02\x00\x01")
                await writer.drain()
                return
            there, back = await asyncio.open_connection("127.0.0.1", broker.port)
            back.write(packet)

            async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
                while data := await source.read(4096):
                    target.write(data)
                target.close()

            await asyncio.gather(pump(reader, back), pump(there, writer))
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line.configure(mqtt(server.sockets[0].getsockname()[1]))
    line.event()
    async with server, line.serving():
        assert await waited(subscriber, "cam1/event", 1)


async def test_parts_by_their_lane_and_lots_retained(line: Line, broker: Broker, subscriber: Subscriber) -> None:
    """Beside the events, each journal in its order; the newest lot and recipe are there for who comes later."""
    ask_lot(line.directory, "L-1", Asked("shift", "desk"))
    line.configure(mqtt(broker.port))
    wanted = [line.event() for _ in range(45)]
    parts = [f"parts:{enter_part(line.directory, verdict)}" for verdict in [*PartVerdict] * 11]
    async with line.serving():
        events = await waited(subscriber, "cam1/event", 45)
        found = await waited(subscriber, "lane1/part", 44)
        ask_lot(line.directory, "L-2", Asked("shift", "desk"))
        ask_recipe(line.directory, "fine", Asked("shift", "desk"), "lane1")
        await waited(subscriber, "/recipe", 1)
        late = Subscriber(broker.port, client_id="late")
        await waited(late, "lane1/recipe", 1)
        retained = {message.topic.removeprefix("acme/line-1/"): message.content for message in late.received}
        late.close()
    (known,) = known_outputs(line.directory)

    assert [event["event_id"] for event in events] == wanted
    assert [part["id"] for part in found] == parts
    assert retained["lot"]["lot"] == "L-2"
    assert retained["lane1/recipe"]["recipe"] == "fine"
    assert "lane1/part" not in retained
    assert known.places["parts"] == 47


async def test_a_lot_is_retained_again_where_a_broker_has_lost_it(line: Line, tmp_path: Path) -> None:
    ask_lot(line.directory, "L-1", Asked("shift", "desk"))
    with running_broker(tmp_path / "one") as one:
        line.configure(mqtt(one.port))
        async with line.serving():
            await until_state(line, "connected")
            await asyncio.sleep(0.3)
    with running_broker(tmp_path / "other") as other:
        line.configure(mqtt(other.port))
        seen = Subscriber(other.port)
        async with line.serving():
            (lot,) = await waited(seen, "line-1/lot", 1)
        seen.close()

    assert lot["lot"] == "L-1"


async def test_the_alarms_of_now_are_retained(line: Line, broker: Broker, subscriber: Subscriber) -> None:
    """From the run's feed; where the run ends that is said too."""
    line.configure(mqtt(broker.port, 'kinds = ["event", "alarm"]'))
    feed = FeedServer(FACTS)
    feed.open(line.directory)
    async with line.serving():
        for _ in range(900):
            feed.offers.snapshot({"alarms": ["cam1: AUTH_FAILED"]})
            await asyncio.sleep(0.05)
            if [one for one in subscriber.of("line-1/alarm") if one.content["alarms"]]:
                break
        late = Subscriber(broker.port, client_id="late")
        (raised,) = await waited(late, "line-1/alarm", 1)
        await asyncio.to_thread(feed.close)
        found = await waited(late, "line-1/alarm", 2)
        late.close()

    assert (raised["run"], raised["is_running"], raised["alarms"]) == (FACTS.run, True, ["cam1: AUTH_FAILED"])
    assert (found[-1]["is_running"], found[-1]["alarms"]) == (False, [])
