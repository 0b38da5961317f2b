# SPDX-License-Identifier: AGPL-3.0-or-later
"""An ONVIF camera of real sockets: answers the search on the loopback interface, and its services over HTTP."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import struct
import threading
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

USER, PASSWORD = "line", "s3cret"
GROUP = "239.255.255.250"
NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c0"
_SOAP = '<?xml version="1.0"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope"'
_NAMES = (
    ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl"'
    ' xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:ter="http://www.onvif.org/ver10/error"'
    ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
)
_DENIED = (
    "<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value><SOAP-ENV:Subcode>"
    "<SOAP-ENV:Value>ter:NotAuthorized</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code></SOAP-ENV:Fault>"
)


def soap(body: str) -> bytes:
    """Return an answer with `body`."""
    return f"{_SOAP}{_NAMES}><SOAP-ENV:Body>{body}</SOAP-ENV:Body></SOAP-ENV:Envelope>".encode()


@dataclass
class FakeProfile:
    """One stream; `uri` is where the camera says it is."""

    uri: str
    source: str = "V1"
    size_wh: tuple[int, int] = (1920, 1080)
    encoding: str = "H264"


@dataclass
class Behaviour:
    """What the camera does; `auth` is "none", "token" (WS-Security), "digest" or "basic" (HTTP)."""

    profiles: dict[str, FakeProfile] = field(default_factory=dict)
    auth: str = "token"
    clock_ahead: timedelta = timedelta()
    fixed: bytes | None = None  # the body of every answer
    drips: bool = False  # a byte every tenth of a second, for ever


class OnvifDevice:
    """Serves until it is closed. `asked` holds the actions that came, `logins` what was said about the login."""

    def __init__(self, behaviour: Behaviour, discovery_port: int | None = None) -> None:
        self.behaviour = behaviour
        self.asked: list[str] = []
        self.logins: list[str] = []
        self.nonces: set[bytes] = set()
        self.over = threading.Event()
        device = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                device.answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = False
        self.port = int(self._http.server_address[1])
        self._threads = [threading.Thread(target=self._http.serve_forever, args=(0.05,), name="onvif http")]
        if discovery_port is not None:
            self._group = _join(discovery_port)
            self._threads.append(threading.Thread(target=self._hear, name="onvif discovery"))
        for thread in self._threads:
            thread.start()

    @property
    def service(self) -> str:
        """The URL of the device service."""
        return f"http://127.0.0.1:{self.port}/onvif/device_service"

    def close(self) -> None:
        """End everything."""
        self.over.set()
        self._http.shutdown()
        for thread in self._threads:
            thread.join()
        self._http.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one question as the behaviour says."""
        text = request.rfile.read(int(request.headers["Content-Length"])).decode()
        found = re.search(r"<s:Body><\w+:(\w+)", text)
        action = found[1] if found else ""
        self.asked.append(action)
        if self.behaviour.drips:
            return self._drip(request)
        if self.behaviour.fixed is not None:
            return _send(request, 200, self.behaviour.fixed)
        if action != "GetSystemDateAndTime" and not self._accepts(text, request.headers.get("Authorization")):
            return self._deny(request)
        return _send(request, 200, soap(self._body(action, text)))

    def _drip(self, request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while not self.over.wait(0.1):
            try:
                request.wfile.write(b" ")
            except OSError:
                return

    def _deny(self, request: BaseHTTPRequestHandler) -> None:
        challenge = {
            "digest": f'Digest realm="onvif", qop="auth", nonce="{NONCE}"',
            "basic": 'Basic realm="onvif"',
        }.get(self.behaviour.auth)
        if challenge is None:
            return _send(request, 400, soap(_DENIED))
        return _send(request, 401, b"", {"WWW-Authenticate": challenge})

    def _accepts(self, text: str, authorization: str | None) -> bool:
        match self.behaviour.auth:
            case "none":
                return True
            case "token":
                return self._accepts_token(text)
            case _:
                self.logins.append(authorization or "")
                return authorization is not None and _is_digest(authorization)

    def _accepts_token(self, text: str) -> bool:
        parts = [
            re.search(rf"<\w+:{name}(?:\s[^>]*)?>([^<]*)<", text)
            for name in ("Username", "Password", "Nonce", "Created")
        ]
        if not all(parts):
            return False
        user, password, nonce_text, created = (part[1] for part in parts if part)
        nonce = base64.b64decode(nonce_text)
        self.logins.append(password)
        digest = base64.b64encode(
            hashlib.sha1(nonce + created.encode() + PASSWORD.encode(), usedforsecurity=False).digest()
        ).decode()
        age = self._now() - datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        is_new = nonce not in self.nonces and abs(age) < timedelta(seconds=10)
        self.nonces.add(nonce)
        return user == USER and password == digest and is_new

    def _now(self) -> datetime:
        return datetime.now(UTC) + self.behaviour.clock_ahead

    def _body(self, action: str, text: str) -> str:
        match action:
            case "GetSystemDateAndTime":
                now = self._now()
                return (
                    f"<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:UTCDateTime><tt:Time><tt:Hour>{now.hour}"
                    f"</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second></tt:Time><tt:Date>"
                    f"<tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date>"
                    "</tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
                )
            case "GetCapabilities":  # the address that it had in the network of the factory
                address = "http://192.168.1.108/onvif/media_service"
                return f"<tds:Capabilities><tt:Media><tt:XAddr>{address}</tt:XAddr></tt:Media></tds:Capabilities>"
            case "GetProfiles":
                return "".join(_profile(token, profile) for token, profile in self.behaviour.profiles.items())
            case "GetStreamUri":
                found = re.search(r"<m:ProfileToken>([^<]*)<", text)
                assert found
                uri = self.behaviour.profiles[found[1]].uri.replace("&", "&amp;")
                return f"<trt:MediaUri><tt:Uri>{uri}</tt:Uri></trt:MediaUri>"
        raise AssertionError(action)

    def _hear(self) -> None:
        """Answer the search, from the loopback address, with an address of another network before the right one."""
        identity = uuid.uuid4()
        with self._group as group, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            while not self.over.is_set():
                try:
                    data, address = group.recvfrom(65535)
                except TimeoutError:
                    continue
                if b"NetworkVideoTransmitter" not in data:
                    continue
                scopes = f"onvif://www.onvif.org/name/Line%20cam%20{self.port} onvif://www.onvif.org/hardware/X1"
                match = (
                    "<d:ProbeMatches><d:ProbeMatch><wsa:EndpointReference><wsa:Address>"
                    f"urn:uuid:{identity}</wsa:Address></wsa:EndpointReference><d:Scopes>{scopes}</d:Scopes>"
                    f"<d:XAddrs>http://192.168.1.108/other {self.service}</d:XAddrs></d:ProbeMatch></d:ProbeMatches>"
                )
                sender.sendto(soap(match), address)


def _join(port: int) -> socket.socket:
    """Return a socket that hears the group on the loopback interface."""
    group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    group.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    group.bind((GROUP, port))
    member = struct.pack("=4s4si", socket.inet_aton(GROUP), bytes(4), socket.if_nametoindex("lo"))
    group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    group.settimeout(0.05)
    return group


def _profile(token: str, profile: FakeProfile) -> str:
    width, height = profile.size_wh
    return (
        f'<trt:Profiles token="{token}" fixed="true"><tt:Name>{token}</tt:Name><tt:VideoSourceConfiguration>'
        f"<tt:SourceToken>{profile.source}</tt:SourceToken></tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration>"
        f"<tt:Encoding>{profile.encoding}</tt:Encoding><tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height>"
        "</tt:Resolution></tt:VideoEncoderConfiguration></trt:Profiles>"
    )


def _is_digest(given: str) -> bool:
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', given))

    def digest(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    secret = digest(f"{USER}:onvif:{PASSWORD}")
    request = digest(f"POST:{fields.get('uri')}")
    parts = [secret, NONCE, fields.get("nc", ""), fields.get("cnonce", ""), "auth", request]
    return fields.get("username") == USER and fields.get("response") == digest(":".join(parts))


def _send(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
