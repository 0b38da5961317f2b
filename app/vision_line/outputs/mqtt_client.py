# SPDX-License-Identifier: AGPL-3.0-or-later
"""One connection to an MQTT broker, and what its end or refusal means.

Each connection has a new client of the library: one is good for a single connection.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import platform
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTT_ERR_SUCCESS

from vision_line.config.output_settings import MqttOutput
from vision_line.outputs.message_sink import SinkError, SinkTrouble, to_next_turn_s
from vision_line.outputs.tls import verified_context

if TYPE_CHECKING:
    from paho.mqtt.client import Client as PahoClient
    from paho.mqtt.client import ConnectFlags
    from paho.mqtt.client import SocketLike as PahoSocket
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

#: The library's own words go nowhere: its errors are ours to say, and to mask.
_SILENT = logging.getLogger(f"{__name__}.library")
_SILENT.setLevel(logging.CRITICAL)

#: Messages that are on their way unacknowledged, at most: what comes twice after a cut. A broker may take fewer.
IN_FLIGHT = 20
#: A peer that is silent for one and a half of it is gone, in seconds.
KEEP_ALIVE_S = 15
_ALIVE_TURN_S = 1.0

_V5, _V311 = aiomqtt.ProtocolVersion.V5, aiomqtt.ProtocolVersion.V311
_UNSUPPORTED_VERSION = frozenset({1, 132})
_AUTHENTICATION = frozenset({4, 5, 134, 135, 138, 140})
_BUSY = frozenset({3, 136, 137, 151, 159})
_TAKEN_OVER = 142


class MqttClient(aiomqtt.Client):
    """Keeps what the library drops: why a connection failed, and that the broker refused a message."""

    connect_error: OSError | None = None
    refusal: str | None = None
    is_v5 = True
    _most = IN_FLIGHT
    _is_gathering = False  # what is published is not written yet
    _all_acknowledged: asyncio.Future[None] | None = None

    def _client_connect(self) -> None:
        try:
            super()._client_connect()
        except OSError as exc:
            # Without its frames: they hold a socket, which the library closes only by letting go of it.
            self.connect_error = exc.with_traceback(None)
            raise

    def _on_connect(
        self,
        client: PahoClient,
        userdata: object,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        """Have no more unacknowledged than the broker takes (MQTT 5, 3.2.2.3.3): paho does not look at what it says."""
        self._most = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", IN_FLIGHT))
        self._places = self._outgoing_calls_sem = asyncio.Semaphore(self._most)
        self._unacknowledged: set[int] = set()  # of those that were published together
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(
        self, client: PahoClient, userdata: object, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        if reason_code.is_failure:  # version 5 alone says so: the message is not kept
            self.refusal = str(reason_code)
        super()._on_publish(client, userdata, mid, reason_code, properties)
        self._unacknowledged.discard(mid)
        if self._unacknowledged:
            self._confirm()
        if not self._unacknowledged and self._all_acknowledged is not None and not self._all_acknowledged.done():
            self._all_acknowledged.set_result(None)

    async def publish_all(self, made: Sequence[tuple[str, bytes, bool]]) -> None:
        """Publish topics, payloads, and whether they are retained, and wait for all acknowledgements.

        The library writes each message for itself, and waits for each by two tasks and a timer: so it costs this
        process, the broker and the kernel several times as much. As many go at once as the broker takes. One caller
        at a time.

        Raises:
            aiomqtt.MqttError: the connection is gone, or an acknowledgement did not come in time.
        """
        for start in range(0, len(made), self._most):
            await self._publish_together(made[start : start + self._most])

    async def _publish_together(self, made: Sequence[tuple[str, bytes, bool]]) -> None:
        held = 0
        try:
            async with asyncio.timeout(self.timeout):
                for _ in made:
                    await self._places.acquire()
                    held += 1
                # Not sooner: the acknowledgement of something else, whose place was waited for, would be taken for all.
                self._unacknowledged.clear()
                all_acknowledged = self._all_acknowledged = asyncio.get_running_loop().create_future()
                self._write_together(made)
                await all_acknowledged
        except TimeoutError:
            raise aiomqtt.MqttError("Operation timed out") from None
        finally:
            self._all_acknowledged = None
            for _ in range(held):
                self._places.release()

    def _write_together(self, made: Sequence[tuple[str, bytes, bool]]) -> None:
        """Write all of it at once, in as few packets of the network as it takes."""
        connection = self._client.socket()
        is_open = True
        # What already waits for the socket is written as soon as that takes it, and this then behind it.
        self._is_gathering = isinstance(connection, socket.socket) and not self._client.want_write()
        try:
            for topic, payload, retain in made:
                info = self._client.publish(topic, payload, 1, retain)
                if info.rc != MQTT_ERR_SUCCESS:
                    raise aiomqtt.MqttCodeError(info.rc, "Could not publish message")
                self._unacknowledged.add(info.mid)
            if self._is_gathering and isinstance(connection, socket.socket):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                self._client.loop_write()
                is_open = connection.fileno() >= 0  # it ends here where the broker is gone
                if is_open:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        finally:
            was_gathering, self._is_gathering = self._is_gathering, False
        if was_gathering and is_open and self._client.want_write() and isinstance(connection, socket.socket):
            self._on_socket_register_write(self._client, None, connection)

    def _on_socket_register_write(self, client: PahoClient, userdata: object, sock: PahoSocket) -> None:
        if not self._is_gathering:
            super()._on_socket_register_write(client, userdata, sock)

    async def _misc_loop(self) -> None:
        """Keep the connection alive, at the moments at which this process wakes anyway."""
        while self._client.loop_misc() == MQTT_ERR_SUCCESS:  # noqa: ASYNC110  no event tells of a second that passed
            await asyncio.sleep(to_next_turn_s(_ALIVE_TURN_S))

    def _confirm(self) -> None:
        """Have the kernel confirm now what it has received.

        A broker holds its small acknowledgements back until the first is confirmed (Nagle's algorithm), and a kernel
        waits with that for 40 ms: each window would take so long.
        """
        connection = self._client.socket()
        if isinstance(connection, socket.socket):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def drop(self) -> None:
        """Let go of a connection that never was: the library's own way out expects one that was."""
        self._client.disconnect()


def mqtt_client_id(directory: Path, output: str) -> str:
    """Return the same id at every start, and another one for each host, record directory and output.

    Two clients of one id would end each other's connections in turn. 23 characters every broker must take.
    """
    distinct = f"{platform.node()}\n{directory.absolute()}\n{output}"
    return f"vl{hashlib.sha256(distinct.encode(errors='surrogateescape')).hexdigest()[:21]}"


async def open_client(settings: MqttOutput, client_id: str, will: aiomqtt.Will | None = None) -> MqttClient:
    """Connect by version 5, or by 3.1.1 where that is refused.

    Raises:
        SinkError: neither is possible.
    """
    for version in (_V5, _V311):
        client = _made(settings, client_id, will, version)
        try:
            await client.__aenter__()
        except MqttConnectError as exc:
            client.drop()
            if version is _V5 and code_of(exc) in _UNSUPPORTED_VERSION:
                continue
            raise _refused(exc) from exc
        except aiomqtt.MqttError as exc:
            client.drop()
            raise _not_connected(client.connect_error, exc) from exc
        client.pending_calls_threshold = 4 * IN_FLIGHT
        client.is_v5 = version is _V5
        return client
    raise SinkError(SinkTrouble.REFUSED, "the broker knows neither MQTT 5 nor 3.1.1")


def _made(
    settings: MqttOutput, client_id: str, will: aiomqtt.Will | None, version: aiomqtt.ProtocolVersion
) -> MqttClient:
    url = urlsplit(settings.url.get_secret_value())
    is_encrypted = url.scheme.lower() == "mqtts"
    return MqttClient(
        url.hostname or "",
        url.port or (8883 if is_encrypted else 1883),
        username=None if url.username is None else unquote(url.username),
        password=None if url.password is None else unquote(url.password),
        logger=_SILENT,
        identifier=client_id,
        protocol=version,
        clean_session=True if version is _V311 else None,
        clean_start=True if version is _V5 else MQTT_CLEAN_START_FIRST_ONLY,
        will=will,
        timeout=settings.timeout_s,
        keepalive=KEEP_ALIVE_S,
        max_inflight_messages=IN_FLIGHT,
        # Else a window's small packets wait for each other: 40 ms each time.
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        tls_context=verified_context(settings.ca) if is_encrypted else None,
    )


async def until_lost(client: MqttClient, take: Callable[[aiomqtt.Message], None] | None = None) -> None:
    """Give what comes to `take`, which does not wait, until the connection ends.

    Raises:
        aiomqtt.MqttError: it has.
    """
    async for message in client.messages:
        if take is not None:
            take(message)


def lost_error(lost: asyncio.Task[None]) -> SinkError:
    """Return what the end of a connection means, of which `until_lost` has found out."""
    error = None if lost.cancelled() else lost.exception()
    cause = None if error is None else error.__cause__
    if code_of(cause) == _TAKEN_OVER:
        return SinkError(SinkTrouble.TAKEN_OVER, "another client connected to the broker with this output's client id")
    return SinkError(SinkTrouble.LOST, f"the connection to the broker ended: {cause or error or 'closed'}")


def code_of(error: BaseException | None) -> int | None:
    """Return the broker's reason code, None where it gave none."""
    rc = error.rc if isinstance(error, aiomqtt.MqttCodeError) else None
    value = getattr(rc, "value", rc)
    return value if isinstance(value, int) else None


def _refused(error: MqttConnectError) -> SinkError:
    code = code_of(error)
    trouble = SinkTrouble.REFUSED
    if code in _AUTHENTICATION:
        trouble = SinkTrouble.AUTH_FAILED
    elif code in _BUSY:
        trouble = SinkTrouble.BUSY
    return SinkError(trouble, f"the broker refuses the connection: {error}")


def _not_connected(cause: OSError | None, error: aiomqtt.MqttError) -> SinkError:
    if isinstance(cause, ssl.SSLError):
        return SinkError(SinkTrouble.TLS_FAILED, str(cause))
    if isinstance(cause, socket.gaierror):
        return SinkError(SinkTrouble.NAME_UNKNOWN, str(cause))
    if cause is None or isinstance(cause, TimeoutError):
        return SinkError(SinkTrouble.TIMEOUT, f"no answer from the broker: {cause or error}")
    return SinkError(SinkTrouble.UNREACHABLE, str(cause))
