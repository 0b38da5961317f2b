# SPDX-License-Identifier: AGPL-3.0-or-later
"""One RTSP client's session (RFC 2326): TCP interleaved or UDP, for as long as its connection stands."""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from vision_line.simulator.broadcast import Client, VirtualCamera
from vision_line.simulator.rtp_stream import describe

_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, SET_PARAMETER, TEARDOWN"
_MOST_BEHIND_BYTES = 512 * 1024
_MOST_HEAD_BYTES = 8 * 1024
_MOST_BODY_BYTES = 64 * 1024
_SESSION_TIMEOUT_S = 60
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
}


class RequestError(Exception):
    """The client sent what is not RTSP; its connection is closed."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """A status with headers and body, before CSeq and Session are added."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True, slots=True)
class UdpPorts:
    """The server's pair of ports: RTP, and RTCP on the next one."""

    rtp: asyncio.DatagramTransport
    rtcp: asyncio.DatagramTransport
    first: int


@dataclass(frozen=True, eq=False, slots=True)
class TcpClient:
    """Sends over the RTSP connection itself, on two interleaved channels."""

    writer: asyncio.StreamWriter
    channels: tuple[int, int]

    def is_behind(self) -> bool:
        """Tell whether half a megabyte waits in our buffer: about three seconds of video."""
        return self.writer.transport.get_write_buffer_size() > _MOST_BEHIND_BYTES

    def send(self, packets: list[bytes]) -> None:
        """Send one frame's packets in one write."""
        channel = self.channels[0]
        self.writer.write(b"".join(struct.pack("!cBH", b"$", channel, len(p)) + p for p in packets))

    def send_report(self, report: bytes) -> None:
        """Send one RTCP packet on the second channel."""
        self.writer.write(struct.pack("!cBH", b"$", self.channels[1], len(report)) + report)


@dataclass(frozen=True, eq=False, slots=True)
class UdpClient:
    """Sends datagrams to the client's pair of ports."""

    ports: UdpPorts
    host: str
    client_ports: tuple[int, int]

    def is_behind(self) -> bool:
        """Never: the network drops what a UDP client does not take."""
        return False

    def send(self, packets: list[bytes]) -> None:
        """Send one frame's packets."""
        for packet in packets:
            self.ports.rtp.sendto(packet, (self.host, self.client_ports[0]))

    def send_report(self, report: bytes) -> None:
        """Send one RTCP packet."""
        self.ports.rtcp.sendto(report, (self.host, self.client_ports[1]))


class RtspSession:
    """Answers one client until it leaves; owns where its packets go, which joins the camera at PLAY."""

    def __init__(
        self,
        cameras: Mapping[str, VirtualCamera],
        ports: UdpPorts,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Take the client's streams; `run` closes the writer."""
        self._cameras, self._ports = cameras, ports
        self._reader, self._writer = reader, writer
        self._session = secrets.token_hex(8)
        self._camera: VirtualCamera | None = None
        self._client: Client | None = None

    async def run(self) -> None:
        """Serve the client until it closes, breaks off, tears down, or sends what is not RTSP."""
        try:
            while (request := await self._next_request()) is not None:
                await self._answer(request, self._respond(request))
                if request.method == "PLAY":
                    self._join()
                elif request.method == "TEARDOWN":
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, RequestError):
            # A client may go in the middle of a word; for a server that is the ordinary end.
            return
        finally:
            self._leave()
            self._writer.close()

    async def _next_request(self) -> Request | None:
        """Read the next request and pass over the client's RTCP packets; None at the end."""
        while (first := await self._reader.read(1)) == b"$":
            _, length = struct.unpack("!BH", await self._reader.readexactly(3))
            await self._reader.readexactly(length)
        if not first:
            return None
        head = first + await self._reader.readuntil(b"\r\n\r\n")
        request = parse_request(head)
        length_text = request.headers.get("content-length", "0")
        if len(head) > _MOST_HEAD_BYTES or not length_text.isdecimal() or int(length_text) > _MOST_BODY_BYTES:
            raise RequestError("a request of this size")
        await self._reader.readexactly(int(length_text))
        return request

    async def _answer(self, request: Request, response: Response) -> None:
        headers = {"CSeq": request.headers.get("cseq", "0"), **response.headers}
        if request.method not in ("OPTIONS", "DESCRIBE"):
            headers["Session"] = f"{self._session};timeout={_SESSION_TIMEOUT_S}"
        if response.body:
            headers["Content-Length"] = str(len(response.body.encode()))
        lines = [f"RTSP/1.0 {response.status} {_REASONS[response.status]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join((*lines, "", response.body)).encode())
        await self._writer.drain()

    def _respond(self, request: Request) -> Response:
        match request.method:
            case "OPTIONS":
                return Response(headers={"Public": _METHODS})
            case "DESCRIBE":
                return self._describe(request)
            case "SETUP":
                return self._set_up(request)
            case "PLAY" | "PAUSE" | "GET_PARAMETER" | "SET_PARAMETER" | "TEARDOWN":
                return self._control(request)
            case _:
                return Response(501)

    def _describe(self, request: Request) -> Response:
        camera = self._cameras.get(camera_name(request.url))
        if camera is None:
            return Response(404)
        host = str(self._writer.get_extra_info("sockname")[0])
        headers = {"Content-Type": "application/sdp", "Content-Base": request.url.rstrip("/") + "/"}
        return Response(200, headers, describe(camera.stream, host, camera.fps))

    def _set_up(self, request: Request) -> Response:
        camera = self._cameras.get(camera_name(request.url))
        if camera is None:
            return Response(404)
        if self._client is not None:
            return Response(455)
        transport = request.headers.get("transport", "")
        pair = port_pair(transport, "interleaved")
        client_ports = port_pair(transport, "client_port")
        if "RTP/AVP/TCP" in transport.upper() and pair is not None and max(pair) < 256:
            self._client = TcpClient(self._writer, pair)
            chosen = f"RTP/AVP/TCP;unicast;interleaved={pair[0]}-{pair[1]}"
        elif client_ports is not None and "multicast" not in transport.lower():
            host = str(self._writer.get_extra_info("peername")[0])
            self._client = UdpClient(self._ports, host, client_ports)
            server = f"{self._ports.first}-{self._ports.first + 1}"
            chosen = f"RTP/AVP;unicast;client_port={client_ports[0]}-{client_ports[1]};server_port={server}"
        else:
            return Response(461)
        self._camera = camera
        return Response(200, {"Transport": f"{chosen};ssrc={camera.ssrc:08X}"})

    def _control(self, request: Request) -> Response:
        if request.method == "GET_PARAMETER" and self._client is None:
            return Response()
        if request.headers.get("session", "").partition(";")[0].strip() != self._session:
            return Response(454)
        if request.method in ("PAUSE", "TEARDOWN"):
            self._leave()
        if request.method == "PLAY":
            return Response(200, {"Range": "npt=now-"}) if self._client is not None else Response(455)
        return Response()

    def _join(self) -> None:
        if self._camera is not None and self._client is not None and self._client not in self._camera.clients:
            self._camera.join(self._client)

    def _leave(self) -> None:
        if self._camera is not None and self._client is not None:
            self._camera.leave(self._client)


def parse_request(head: bytes) -> Request:
    """Parse a request's head.

    Raises:
        ProtocolError: it is not RTSP/1.0.
    """
    first, *lines = head.decode("utf-8", "replace").split("\r\n")
    words = first.split()
    if len(words) != 3 or words[2] != "RTSP/1.0":
        raise RequestError(f"METHOD URL RTSP/1.0 expected, got {first[:80]!r}")
    pairs = (line.partition(":") for line in lines if line)
    return Request(words[0], words[1], {name.strip().lower(): value.strip() for name, _, value in pairs})


def camera_name(url: str) -> str:
    """Give the camera that a URL names: the first part of its path."""
    return urlsplit(url).path.strip("/").partition("/")[0]


def port_pair(transport: str, key: str) -> tuple[int, int] | None:
    """Find `key=A-B` (or `key=A`) in a Transport header; None where it is not there or no number."""
    for part in transport.split(";"):
        name, _, value = part.strip().partition("=")
        if name.lower() == key:
            first, _, second = value.partition("-")
            if first.isdecimal() and (second or "0").isdecimal():
                return int(first), int(second or int(first) + 1)
    return None
