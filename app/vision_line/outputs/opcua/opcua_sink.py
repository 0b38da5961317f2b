# SPDX-License-Identifier: AGPL-3.0-or-later
"""The server as a sink: a message is sent once its event was raised.

Nobody acknowledges an event. A client that is not there when one is raised finds the gap by the rising number, and
asks for results by their id.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asyncua import Server, ua
from asyncua.common.connection import TransportLimits
from cryptography import x509

from vision_line import __version__
from vision_line.config.listen import ListenAddress, bind_problem
from vision_line.config.output_settings import OpcUaOutput
from vision_line.errors import RunError
from vision_line.outputs.message_sink import (
    LONGEST_TURN_S,
    TURN_S,
    ShownState,
    SinkError,
    SinkTrouble,
    to_next_turn_s,
)
from vision_line.outputs.notification import FORK, Notification, is_wanted
from vision_line.outputs.opcua.certificates import WARNED_DAYS, CertificateFolder, application_uri
from vision_line.outputs.opcua.client_commands import ClientCommands
from vision_line.outputs.opcua.connection_watch import ConnectionWatch
from vision_line.outputs.opcua.guarded_server import Admission, GuardedServer
from vision_line.outputs.opcua.inspection_results import InspectionResult, result_kind, result_of
from vision_line.outputs.opcua.order_nodes import OrderNodes
from vision_line.outputs.opcua.published_nodes import URI, PublishedNodes, last_number
from vision_line.outputs.opcua.recorded_results import RecordedResults
from vision_line.outputs.opcua.result_types import ResultTypes, add_result_types
from vision_line.outputs.opcua.sign_in_of_clients import ClientSignIn
from vision_line.parts.line_commands import LineCommands

logger = logging.getLogger(__name__)

FOLDER = "opcua"
PATH = "/vision-line"
#: Values change three times a second at most, and are looked after once a second while no client is there.
TICK_S = TURN_S
#: How often the journal is asked for news while a client subscribes: a part of a commit's 200 ms.
HEARD_TURN_S = 0.05
#: A backlog is raised no faster, in events a second, or clients' queues would overflow; so many may come at once.
_RATE = 100.0
_BURST = 20
_DAY_S = 86_400.0
_LARGEST_MESSAGE = 2**20
#: The library logs each mistake of a client as an error: whoever reaches the port could fill the disk.
_LOGGERS_OF_CLIENTS = ("asyncua.server.uaprocessor", "asyncua.server.binary_server_asyncio")


class OpcUaSink:
    """One server, from `connect` to `close`."""

    window = 20
    connects = True

    def __init__(self, settings: OpcUaOutput, directory: Path, commands: LineCommands | None = None) -> None:
        """`commands` carries out what clients ask, None: nothing is asked."""
        self._settings = settings
        self._sign_in = ClientSignIn(directory)
        self._commands = None if commands is None else ClientCommands(settings.name, commands, self._sign_in)
        self._directory = directory
        self._recorded = RecordedResults(directory)
        self._kind = result_kind(settings.kinds)
        self._server: Server | None = None
        self._guarded: GuardedServer | None = None
        self._nodes: PublishedNodes | None = None
        self._orders: OrderNodes | None = None
        self._types: ResultTypes | None = None
        self._watch: ConnectionWatch | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._certificate: x509.Certificate | None = None
        self._raised_until_s = 0.0
        self._heartbeat = 0
        self._handle = 0

    @property
    def turn_s(self) -> float:
        """Who subscribes hears of news soon; who is there finds variables as they are; else nobody waits for any."""
        if self._nodes is not None and self._nodes.is_heard:
            return HEARD_TURN_S
        return TURN_S if self._has_clients else LONGEST_TURN_S

    @property
    def _has_clients(self) -> bool:
        return self._guarded is not None and bool(self._guarded.sessions)

    async def connect(self) -> None:
        """Start the server.

        Raises:
            SinkError: its port is in use, or its certificate cannot be used.
        """
        logging.getLogger("asyncua").setLevel(logging.ERROR)
        for name in _LOGGERS_OF_CLIENTS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        address = self._settings.address
        check_free(address)
        folder = CertificateFolder(Path(self._settings.certificates or self._directory / FOLDER))
        try:
            self._certificate = await asyncio.to_thread(folder.prepare, self._settings.name, address.host)
            self._server = await self._made(folder, self._certificate)
            await self._publish(self._server)
            await self._server.start()
            self._watch = ConnectionWatch(self._server, self._settings.name)
        except (OSError, ValueError, ua.UaError) as exc:
            await self.close()
            raise SinkError(SinkTrouble.FAILED, f"the server cannot start: {exc}") from exc
        self._ticking = asyncio.create_task(self._tick(), name=f"opcua {self._settings.name}")
        # A million objects that stay: to look through them for garbage takes a second each time, in which no client
        # is answered, and is therefore done so seldom that garbage piles up.
        gc.freeze()
        gc.collect()

    async def _made(self, folder: CertificateFolder, certificate: x509.Certificate) -> Server:
        settings = self._settings
        admission = Admission(folder, self._sign_in, settings.encrypted, settings.anonymous, settings.max_sessions)
        if not settings.anonymous and not self._sign_in.exist():
            logger.warning(
                "output %r: no client can sign in: there is no user with a password (vision-line desk user add)",
                settings.name,
            )
        self._guarded = GuardedServer(admission, self._flush)
        server = Server(iserver=self._guarded)
        await server.init()
        await server.set_application_uri(application_uri(certificate))
        server.set_endpoint(f"opc.tcp://{settings.address}{PATH}")
        server.set_server_name("vision-line")
        server.application_type = ua.ApplicationType.Server
        server.limits = TransportLimits(65_535, 65_535, _LARGEST_MESSAGE // 65_535, _LARGEST_MESSAGE)
        encrypted = ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt
        server.set_security_policy([encrypted] if settings.encrypted else [encrypted, ua.SecurityPolicyType.NoSecurity])
        await server.set_build_info(
            "urn:vision-line", "vision-line", "vision-line outputs", __version__, "", datetime.now(UTC)
        )
        await server.load_certificate(folder.certificate)
        await server.load_private_key(folder.key)
        return server

    async def _publish(self, server: Server) -> None:
        self._types = await add_result_types(server)
        index = await server.register_namespace(URI)
        self._nodes = PublishedNodes(server, self._types, index, list(self._settings.kinds))
        self._orders = OrderNodes(self._nodes)
        await self._nodes.build(
            {
                "GetLatestResult": self._latest_result,
                "GetResultById": self._result_by_id,
                "ReleaseResultHandle": self._release,
            }
        )
        if self._commands is not None:
            await self._commands.publish(self._nodes)

    async def send(self, messages: Sequence[Notification]) -> None:
        """Raise the events of `messages`.

        Raises:
            SinkError: the server does not run.
        """
        nodes = self._running()
        for said in messages:
            if nodes.is_heard:
                await self._paced()
            result = result_of(said) if said.kind == self._kind else None
            await (nodes.raise_message(said) if result is None else nodes.raise_result(result))
            if said.kind == "state":
                await nodes.show_state(said)
            elif said.kind == "interval":
                await nodes.show_interval(said)
            if said.kind == FORK and self._orders is not None:
                self._orders.clear(str(said.content["journal"]))
            await self._show_order(said)
            if (name := last_number(said)) is not None:
                nodes.set_line(name, said.number, datetime.fromtimestamp(said.at_utc, UTC))
        self.check()

    async def _paced(self) -> None:
        now_s = time.monotonic()
        self._raised_until_s = max(self._raised_until_s, now_s - _BURST / _RATE) + 1 / _RATE
        await asyncio.sleep(max(0.0, self._raised_until_s - now_s))

    async def show(self, state: ShownState) -> None:
        """Set the variables of all cameras.

        Raises:
            SinkError: the server does not run.
        """
        nodes = self._running()
        await nodes.clear_intervals()
        for said in state.cameras:
            if not self._settings.cameras or said.camera in self._settings.cameras:
                await nodes.show_state(said)
        for said in state.intervals:
            if not self._settings.cameras or said.camera in self._settings.cameras:
                await nodes.show_interval(said)

        for said in state.orders:
            await self._show_order(said)

    async def _show_order(self, said: Notification) -> None:
        if self._orders is not None and is_wanted(self._settings, said):
            await self._orders.show(said)

    def check(self) -> None:
        """Find out whether the server still runs.

        Raises:
            SinkError: it does not.
        """
        self._running()
        if self._ticking is not None and self._ticking.done():
            self._ticking.result()  # it ends by a fault of ours alone

    def _running(self) -> PublishedNodes:
        if self._nodes is None or self._server is None:
            raise SinkError(SinkTrouble.LOST, "the server does not run")
        return self._nodes

    async def close(self) -> None:
        """Stop the server; clients are disconnected."""
        ticking, self._ticking = self._ticking, None
        if ticking is not None:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
        server, self._server, self._nodes, self._guarded = self._server, None, None, None
        if server is not None:
            await _stop(server)
            gc.unfreeze()
        self._recorded.close()

    async def _flush(self) -> None:
        """Write what changed: a client that comes is to find it."""
        await self._running().flush()

    async def _tick(self) -> None:
        """Write what changed, while somebody is there to read it; what changes with time alone, once a second."""
        due_s, said_s = 0.0, -_DAY_S
        while True:
            nodes = self._running()
            if time.monotonic() >= due_s:
                due_s = time.monotonic() + 1 - TICK_S / 2
                await self._second(nodes)
            if time.monotonic() - said_s >= _DAY_S:
                said_s = time.monotonic()
                self._warn_of_expiry()
            if self._has_clients:
                await nodes.flush()
            await asyncio.sleep(to_next_turn_s(TICK_S if self._has_clients else LONGEST_TURN_S))

    async def _second(self, nodes: PublishedNodes) -> None:
        if self._watch is not None:
            self._watch.turn()
        if self._heartbeat == 0 and self._certificate is not None:
            nodes.set_line("CertificateExpires", self._certificate.not_valid_after_utc, datetime.now(UTC))
        now_utc = time.time()
        now = datetime.fromtimestamp(now_utc, UTC)
        self._heartbeat = (self._heartbeat + 1) % 2**32
        nodes.set_line("Heartbeat", self._heartbeat, now)
        await nodes.tick(now_utc)
        try:
            alive_utc = self._recorded.alive_utc()
        except RunError:  # the follower says it; here the value is bad as long as it lasts
            alive_utc = None
        status = ua.StatusCodes.Good if alive_utc is not None else ua.StatusCodes.BadNoData
        nodes.set_line("LineAliveTime", datetime.fromtimestamp(alive_utc or 0.0, UTC), now, status)

    def _warn_of_expiry(self) -> None:
        if self._certificate is None:
            return
        ends = self._certificate.not_valid_after_utc
        if ends - datetime.now(UTC) < timedelta(days=WARNED_DAYS):
            logger.warning(
                "output %r: the server's certificate ends on %s: put another one in its place, or remove it and its key"
                " to have a new one made with the next start",
                self._settings.name,
                f"{ends:%Y-%m-%d}",
            )

    async def _latest_result(self, _parent: ua.NodeId, *_arguments: ua.Variant) -> list[ua.Variant] | ua.StatusCode:
        nodes = self._running()
        try:
            return self._answer(nodes.latest or self._recorded.newest(self._kind), ua.StatusCodes.BadNoData)
        except RunError as exc:
            return self._unreadable(exc)

    async def _result_by_id(self, _parent: ua.NodeId, *arguments: ua.Variant) -> list[ua.Variant] | ua.StatusCode:
        asked = arguments[0].Value if arguments else None
        if not isinstance(asked, str):
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        try:
            return self._answer(self._recorded.find(asked), ua.StatusCodes.BadNotFound)
        except RunError as exc:
            return self._unreadable(exc)

    async def _release(self, _parent: ua.NodeId, *_arguments: ua.Variant) -> list[ua.Variant]:
        """Answer that it is done: nothing is kept for a handle."""
        return [ua.Variant(0, ua.VariantType.Int32)]

    def _unreadable(self, exc: RunError) -> ua.StatusCode:
        logger.error("output %r: a client asked for a result: %s", self._settings.name, exc)
        return ua.StatusCode(ua.StatusCodes.BadResourceUnavailable)

    def _answer(self, result: InspectionResult | None, missing: int) -> list[ua.Variant] | ua.StatusCode:
        if result is None or self._types is None:
            return ua.StatusCode(missing)
        self._handle = self._handle % (2**32 - 1) + 1
        value = self._types.value(result, result.said.as_json(time.time()).decode())
        return [
            ua.Variant(self._handle, ua.VariantType.UInt32),
            ua.Variant(value, ua.VariantType.ExtensionObject),
            ua.Variant(0, ua.VariantType.Int32),
        ]


def check_free(address: ListenAddress) -> None:
    """Find out whether the port is free: making a server takes a second, and a retry should not.

    Raises:
        SinkError: it is not.
    """
    if problem := bind_problem(address):
        raise SinkError(SinkTrouble.UNREACHABLE, problem)


async def _stop(server: Server) -> None:
    for session in list(getattr(server.iserver, "sessions", ())):
        await session.close_session()
    with suppress(AttributeError):  # the library's: of a server that never started
        await server.stop()
