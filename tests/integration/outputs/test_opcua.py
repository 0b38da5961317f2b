# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clients of the OPC UA server: events, variables, results by their id; who may come, and what they may do."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asyncua import Client, ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User
from tests.fakes.desk import CHEAP
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing
from tests.fakes.opcua_client import secure_client
from tests.fakes.ports import free_port
from tests.fakes.waiting import until

from vision_line.config.output_settings import OpcUaOutput
from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Role
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.message_sink import ShownState, SinkError
from vision_line.outputs.notification import Notification
from vision_line.outputs.opcua.certificates import CertificateFolder
from vision_line.outputs.opcua.connection_watch import ConnectionWatch
from vision_line.outputs.opcua.guarded_server import Admission, GuardedServer, GuardedSession
from vision_line.outputs.opcua.opcua_probe import probe_server
from vision_line.outputs.opcua.opcua_sink import OpcUaSink
from vision_line.outputs.opcua.published_nodes import URI
from vision_line.outputs.opcua.result_types import URI as RESULTS
from vision_line.outputs.opcua.sign_in_of_clients import ClientSignIn
from vision_line.reviews.passwords import PasswordHasher

pytestmark = pytest.mark.asyncio(loop_scope="module")
PASSWORD = "a long password"  # noqa: S105


class Served:
    """A server over records that are written to, and what makes clients of it."""

    def __init__(self, directory: Path, rows: DeskRecords, settings: OpcUaOutput) -> None:
        self.directory = directory
        self.rows = rows
        self.run = rows.run(0, None, "cam1", "cam2")
        self.settings = settings
        self.sink = OpcUaSink(settings, directory)
        self.url = f"opc.tcp://{settings.listen}/vision-line"
        self.sources = JournalSources(directory)

    def client(self) -> Client:
        return Client(self.url, timeout=60, watchdog_intervall=60)  # a busy machine is not away

    async def secure_client(self, name: str, password: str = PASSWORD) -> Client:
        """Return a client with a certificate of its own."""
        return await secure_client(self.url, self.directory, name, "scada", password)

    def event(self, at_s: float, **values: str) -> Notification:
        """Record an event, and return what is said of it."""
        self.rows.event(self.run, "cam1", at_s, **values)
        said = self.sources.records.newest_of("event")
        assert said is not None
        return said

    @property
    def sessions(self) -> int:
        assert self.sink._server is not None
        return len(self.sink._server.iserver.sessions)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A server costs a second: all tests of it share one, and its one thread."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    directory = tmp_path_factory.mktemp("records")
    Accounts(directory, PasswordHasher(CHEAP)).add("scada", Role.READER, PASSWORD, by="test")
    settings = OpcUaOutput(
        type="opcua",
        name="scada",
        listen=f"127.0.0.1:{free_port()}",
        encrypted=False,
        anonymous=True,
        kinds=["part", "event", "state", "interval"],
        max_sessions=4,
    )
    with writing(directory) as rows:
        made = Served(directory, rows, settings)
        await made.sink.connect()
        yield made
        await made.sink.close()
        made.sources.close()


async def shown(client: Client, path: str, wanted: Callable[[Any], bool] = lambda _value: True) -> ua.DataValue:
    """Return what a variable of ours says once it is there and is `wanted`: they are written a few times a second."""
    node = client.get_node(ua.NodeId(f"VisionLine/{path}", await client.get_namespace_index(URI)))
    for _ in range(400):
        with suppress(ua.uaerrors.BadNodeIdUnknown):
            found = await node.read_data_value()
            if wanted(found.Value.Value):
                return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"{path} does not become what is wanted")


class Heard:
    """What a client was told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def event_notification(self, event: Any) -> None:
        self.events.append(event)

    async def until(self, count: int) -> list[Any]:
        await until(lambda: len(self.events) >= count, lambda: self.events)
        return self.events


def part(number: int, verdict: str) -> Notification:
    content = {"lane": "lane 1", "part_id": f"P{number}", "lot": "L9", "verdict": verdict, "cause": ""}
    moments = {"triggered_utc": "2026-11-28T20:00:01.000000Z", "decided_utc": "2026-11-28T20:00:02.500000Z"}
    said = content | moments
    return Notification(f"parts:{number}", number, "part", 1_795_896_009.0, said, verdict=verdict, lane="lane 1")


async def test_a_subscriber_gets_results_and_messages(served: Served) -> None:
    """By the standard's event type with its structure, and by plain fields; times are the inspection's."""
    async with served.client() as client:
        await client.load_data_type_definitions()
        own, results = await client.get_namespace_index(URI), await client.get_namespace_index(RESULTS)
        heard, of_server = Heard(), Heard()
        subscription = await client.create_subscription(50, heard)
        event_types = [client.get_node(ua.NodeId("VisionResultEventType", own))]
        await subscription.subscribe_events(client.get_node(ua.NodeId("VisionLine", own)), event_types)
        standard = await client.create_subscription(50, of_server)
        await standard.subscribe_events(client.nodes.server, client.get_node(ua.NodeId(1002, results)))
        await served.sink.send([part(1, "reject"), served.event(1.0), part(2, "accept")])
        first, second = await heard.until(2)
        again = (await of_server.until(2))[0]

    assert (first.Kind, first.Number, first.PartId, first.Verdict, first.Lot) == ("part", 1, "P1", "reject", "L9")
    assert (first.SourceName, first.Severity, second.Severity) == ("lane 1", 700, 100)
    assert first.Time == datetime(2026, 11, 28, 20, 0, 2, 500_000, UTC)
    assert first.Result.ResultMetaData.ResultEvaluation.name == "NotOK"
    assert first.Result.ResultMetaData.PartId == "P1"
    assert json.loads(first.Result.ResultContent[0].Value)["schema"] == "vision-line.part/1"
    assert again.EventId == first.EventId
    assert getattr(again, "Result/ResultMetaData/ResultEvaluation") == 2


async def test_results_are_found_by_their_id(served: Served) -> None:
    """An event's id gives how it is now; a message's id what it said; an unknown one an error of its own."""
    said = served.event(20.0, verdict="warn")
    await served.sink.send([part(3, "not_inspected")])
    async with served.client() as client:
        await client.load_data_type_definitions()
        own, results = await client.get_namespace_index(URI), await client.get_namespace_index(RESULTS)
        management = client.get_node(ua.NodeId("VisionLine/ResultManagement", own))

        async def asked(text: str) -> Any:
            return await management.call_method(f"{results}:GetResultById", text, ua.Variant(0, ua.VariantType.Int32))

        _, latest, error = await management.call_method(
            f"{results}:GetLatestResult", ua.Variant(0, ua.VariantType.Int32)
        )
        handle, by_event, _ = await asked(str(said.content["event_id"]))
        _, by_message, _ = await asked(said.id)
        released = await management.call_method(
            f"{results}:ReleaseResultHandle", ua.Variant(handle, ua.VariantType.UInt32)
        )
        with pytest.raises(ua.uaerrors.BadNotFound):
            await asked("run at 0:999999")
        with pytest.raises(ua.uaerrors.BadNotFound):
            await asked(f"another run:{said.number}")
        newest = await shown(client, "ResultManagement/Results/lane 1")

    assert (error, released) == (0, 0)
    assert latest.ResultMetaData.ResultEvaluation.name == "NotDecidable"
    assert by_event == by_message or by_event.ResultMetaData.ResultId == by_message.ResultMetaData.ResultId
    assert (by_event.ResultMetaData.ResultEvaluation.name, by_event.ResultMetaData.ResultEvaluationCode) == ("OK", 2)
    assert newest.SourceTimestamp == datetime(2026, 11, 28, 20, 0, 2, 500_000, UTC)


async def test_variables_show_the_line(served: Served) -> None:
    """State, what is not inspected and why, a heartbeat; nobody may write them."""
    served.rows.state(served.run, "cam2", "RUNNING", 1.0)
    served.rows.gap(served.run, "cam2", "capacity", 4.0, None)
    states, intervals = served.sources.records.line_state()
    await served.sink.show(ShownState(tuple(states), tuple(intervals)))
    async with served.client() as client:
        own = await client.get_namespace_index(URI)
        before = (await shown(client, "Heartbeat")).Value.Value
        await shown(client, "Cameras/cam2/State", lambda state: state == "RUNNING")
        await shown(client, "Cameras/cam2/NotInspectedCause", lambda cause: cause == "capacity")
        await shown(client, "Cameras/cam2/NotInspectedSeconds", lambda gone_s: gone_s > 60)
        with pytest.raises(ua.UaStatusCodeError):
            await client.get_node(ua.NodeId("VisionLine/Heartbeat", own)).write_value(
                ua.Variant(1, ua.VariantType.UInt32)
            )
        with pytest.raises(ua.UaStatusCodeError):
            await client.nodes.objects.add_object(own, "mine")
        with pytest.raises(ua.UaStatusCodeError):
            await client.get_node(ua.NodeId("VisionLine", own)).call_method(f"{own}:SetLot", "*", "L-7")
        await shown(client, "Heartbeat", lambda after: after > before)


async def test_who_comes_finds_what_was_recorded_while_nobody_was_there(served: Served) -> None:
    """Nothing is written for nobody, and the journal is asked seldom; before a session begins all of it is written."""
    await until(lambda: served.sessions == 0, lambda: served.sessions)
    quiet_s = served.sink.turn_s
    served.rows.state(served.run, "cam1", "stale", 50.0)
    said = served.sources.records.newest_of("state")
    assert said is not None
    await served.sink.send([said])
    async with served.client() as client:
        name = ua.NodeId("VisionLine/Cameras/cam1/State", await client.get_namespace_index(URI))
        found = await client.get_node(name).read_value()
        there_s = served.sink.turn_s
        subscription = await client.create_subscription(50, Heard())
        heard_s = served.sink.turn_s
        await subscription.delete()

    assert found == "stale"
    assert quiet_s > there_s > heard_s


async def test_what_stays_as_it_is_is_not_written_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many cameras the server would write for ever what nobody has to read; an interval goes on being counted."""
    nodes = served.sink._nodes
    assert nodes is not None
    served.rows.state(served.run, "cam1", "RUNNING", 1.0)
    states, _ = served.sources.records.line_state()
    await served.sink.show(ShownState(tuple(states)))
    await nodes.show_interval(replace(served.event(1.0), content={"interval_id": "i", "cause": "slow"}, camera="cam2"))
    written: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(nodes, "set", lambda node, *_: written.append(str(node.Identifier)))
        for now_utc in (BEGAN_UTC + 1e6, BEGAN_UTC + 1e6 + 1, BEGAN_UTC + 1e6 + 2):
            await nodes.tick(now_utc)
    assert [name for name in written if "cam1" in name and "NotInspected" in name][2:] == []
    assert sum("cam2/NotInspectedSeconds" in name for name in written) == 3
    await nodes.clear_intervals()


async def test_certificates_and_passwords(served: Served) -> None:
    """Who is not trusted is put where a person finds it; then the password counts."""
    stranger = await served.secure_client("stranger")
    with pytest.raises(ua.uaerrors.BadCertificateUntrusted):
        await stranger.connect()
    (rejected,) = (served.directory / "opcua" / "rejected").iterdir()
    rejected.rename(served.directory / "opcua" / "trusted" / "stranger.der")
    wrong = await served.secure_client("stranger", "not the password")
    with pytest.raises(ua.uaerrors.BadUserAccessDenied):
        await wrong.connect()
    async with await served.secure_client("stranger") as client:
        found = await client.nodes.server.read_browse_name()

    assert found.Name == "Server"


async def test_a_password_is_not_taken_without_encryption(served: Served) -> None:
    """Though the library would take it."""
    client = served.client()
    client.set_user("scada")
    client.set_password(PASSWORD)
    with pytest.raises(ua.uaerrors.BadIdentityTokenRejected):
        await client.connect()


async def test_a_session_that_was_never_activated_does_nothing(served: Served) -> None:
    """Without any user."""
    client = served.client()
    await client.connect_socket()
    try:
        await client.send_hello()
        await client.open_secure_channel()
        await client.create_session()
        with pytest.raises(ua.uaerrors.BadUserAccessDenied):
            await client.nodes.server_state.read_value()
    finally:
        client.disconnect_socket()


async def test_sessions_are_bounded_and_leave_nothing(served: Served) -> None:
    """One too many is refused; who disconnects, in order or not, makes room."""
    for _ in range(20):
        async with served.client() as client:
            await client.create_subscription(100, Heard())
    clients = [served.client() for _ in range(5)]
    for client in clients[:4]:
        await client.connect()
    with pytest.raises(ua.uaerrors.BadTooManySessions):
        await clients[4].connect()
    for client in clients[:4]:
        await client.disconnect()
    await until(lambda: served.sessions == 0, "all have left")
    assert served.sink._server is not None

    assert not served.sink._server.iserver.subscription_service.subscriptions


async def test_subscriptions_are_bounded_and_nobody_elses(served: Served) -> None:
    """Another client's cannot be deleted, and five are enough."""
    async with served.client() as one, served.client() as other:
        mine = await one.create_subscription(1, Heard())
        for _ in range(4):
            await one.create_subscription(1000, Heard())
        with pytest.raises(ua.uaerrors.BadTooManySubscriptions):
            await one.create_subscription(1000, Heard())
        with pytest.raises(ua.uaerrors.BadSubscriptionIdInvalid):
            await other.uaclient.delete_subscriptions([mine.subscription_id])
        assert served.sink._server is not None
        made = served.sink._server.iserver.subscription_service.subscriptions[mine.subscription_id]

        assert made.data.RevisedPublishingInterval == 50


async def test_a_filter_that_no_event_has_costs_its_own_subscription_alone(served: Served) -> None:
    """Paths that are missing mean the node itself; what the library cannot select ends one subscription alone."""
    null_path = ua.SimpleAttributeOperand(TypeDefinitionId=ua.NodeId(2782), AttributeId=ua.AttributeIds.NodeId)
    null_path.BrowsePath = None  # as C programs send it
    internal = ua.SimpleAttributeOperand(BrowsePath=[ua.QualifiedName("data_types")], AttributeId=ua.AttributeIds.Value)
    kind = ua.SimpleAttributeOperand(BrowsePath=[ua.QualifiedName("Kind", 2)], AttributeId=ua.AttributeIds.Value)
    async with served.client() as client, served.client() as other:
        line = client.get_node(ua.NodeId("VisionLine", await client.get_namespace_index(URI)))
        heard, of_other = Heard(), Heard()
        right = await client.create_subscription(50, heard)
        await right.subscribe_events(line, evfilter=ua.EventFilter(SelectClauses=[null_path, kind]))
        null_path.BrowsePath = []  # for this client, which reads by it what comes
        wrong = await other.create_subscription(50, of_other)
        await wrong.subscribe_events(line, evfilter=ua.EventFilter(SelectClauses=[internal]))
        with pytest.raises(ua.uaerrors.BadEventFilterInvalid):
            await wrong.subscribe_events(line, evfilter=ua.DataChangeFilter())
        await served.sink.send([part(11, "accept"), part(12, "accept")])
        assert len(await heard.until(2)) == 2
        assert of_other.events == []
        assert served.sink._server is not None
        left = served.sink._server.iserver.subscription_service.subscriptions
        assert (right.subscription_id in left, wrong.subscription_id in left) == (True, False)


async def test_what_waits_comes_in_messages_that_a_client_takes(served: Served) -> None:
    """Hundreds of events within one publishing interval: each message has a bound, and the rest follows at once."""
    async with served.client() as client:
        line = client.get_node(ua.NodeId("VisionLine", await client.get_namespace_index(URI)))
        heard = Heard()
        subscription = await client.create_subscription(5000, heard)
        base = ua.NodeId(ua.ObjectIds.BaseEventType)
        own = line.nodeid.NamespaceIndex
        names = [ua.QualifiedName(name, own) for name in ("Number", "Content")]
        clauses = [ua.SimpleAttributeOperand(base, [name], ua.AttributeIds.Value) for name in names]
        await subscription.subscribe_events(line, evfilter=ua.EventFilter(SelectClauses=clauses), queuesize=1000)
        assert served.sink._nodes is not None
        for number in range(250):
            await served.sink._nodes.raise_message(part(1000 + number, "accept"))
        found = await heard.until(250)
    assert [event.Number for event in found] == list(range(1000, 1250))


async def test_connections_that_nobody_is_at_are_ended(served: Served) -> None:
    """One whose session has ended goes after a minute, and the kernel asks whether the others are still there."""
    server = served.sink._server
    assert server is not None
    watch = ConnectionWatch(server, "scada")
    async with served.client() as client:
        (kept,) = [one for one in server.bserver.clients if one.transport is not None]
        watch.turn(0.0)
        assert kept.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        watch.turn(1000.0)
        assert not kept.transport.is_closing()
        await client.close_session()
        watch.turn(1001.0)
        watch.turn(1062.0)
        assert kept.transport.is_closing()


async def test_the_newest_number_is_that_of_its_own_journal(served: Served) -> None:
    """Parts count by themselves, and alarms not at all."""
    async with served.client() as client:
        event = served.event(77.0)
        alarm = Notification("alarm:1.000", 0, "alarm", 1_795_896_009.0, {"alarms": []})
        await served.sink.send([event, alarm, part(5, "accept")])
        await shown(client, "LastPartNumber", lambda number: number == 5)  # written together with the others
        assert (await shown(client, "LastNumber")).Value.Value == event.number
        assert (await shown(client, "LastReviewNumber")).Value.Value == 0


async def test_a_port_in_use_is_said(served: Served, tmp_path: Path) -> None:
    """At once; a probe finds that the one who has it is the output itself, or another program."""
    second = OpcUaSink(served.settings, tmp_path)
    with pytest.raises(SinkError, match=r"UNREACHABLE: cannot listen on 127\.0\.0\.1 port"):
        await second.connect()
    await second.close()
    await probe_server(served.settings, served.directory)
    with pytest.raises(SinkError, match="UNREACHABLE"):
        await probe_server(served.settings, tmp_path)
    CertificateFolder(tmp_path / "opcua").prepare("another", "127.0.0.1")
    with pytest.raises(SinkError, match="served by another program"):
        await probe_server(served.settings, tmp_path)


@pytest.mark.parametrize("certificate", [None, b""])
async def test_without_encryption_nobody_comes_where_it_is_asked_for(tmp_path: Path, certificate: bytes | None) -> None:
    """The library accepts such connections even where no endpoint offers them, and serves sessions before that."""
    admission = Admission(CertificateFolder(tmp_path), ClientSignIn(tmp_path), True, True, 4)
    session = GuardedSession(GuardedServer(admission), ("127.0.0.1", 1), User())
    with pytest.raises(ServiceError) as refused:
        session.activate_session(ua.ActivateSessionParameters(), certificate)

    with pytest.raises(ServiceError) as unserved:
        await session.read(ua.ReadParameters())
    with pytest.raises(ServiceError):
        session.publish()

    assert refused.value.code == ua.StatusCodes.BadSecurityPolicyRejected
    assert unserved.value.code == ua.StatusCodes.BadSessionNotActivated


@pytest.mark.parametrize(("days", "is_said"), [(29, True), (31, False)])
async def test_the_end_of_the_certificate_is_said_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, days: int, is_said: bool
) -> None:
    """Thirty days ahead."""
    monkeypatch.setattr("vision_line.outputs.opcua.certificates.LASTS_DAYS", days)
    sink = OpcUaSink(OpcUaOutput(type="opcua", name="scada"), tmp_path)
    sink._certificate = CertificateFolder(tmp_path / "opcua").prepare("scada", "127.0.0.1")
    sink._warn_of_expiry()

    assert ("the server's certificate ends on" in caplog.text) == is_said
