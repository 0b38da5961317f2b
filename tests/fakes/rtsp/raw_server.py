# SPDX-License-Identifier: AGPL-3.0-or-later
"""An RTSP server that can misbehave: each camera's faults are chosen by its options. Standard library and PyAV only."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import random
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np

USER, PASSWORD = "line", "s3cret"
PAYLOAD_TYPE = 96
MTU = 1400
CHALLENGES = {
    "md5": 'Digest realm="IPCAM", nonce="0123456789abcdef", algorithm=MD5',
    "md5-qop": 'Digest realm="a, \\"b\\"", nonce="00ff", qop="auth,auth-int", opaque="o=1"',
    "sha256": 'Digest realm="IPCAM", nonce="fedcba", algorithm="SHA-256", qop="auth"',
    "sha3": 'Digest realm="IPCAM", nonce="fedcba", algorithm=SHA3-512',
    "basic": 'Basic realm="IPCAM"',
}
_KEEPS = {"h264": (7, 8), "hevc": (32, 33, 34)}

Unit = list[bytes]  # the NAL units of one frame, without start codes


def encode(codec: str = "h264", frames: int = 50, group: int = 25, size_wh: tuple[int, int] = (192, 108)) -> list[Unit]:
    """Return frames that all differ, a keyframe every `group`, each with its parameter sets in band."""
    width, height = size_wh
    context = av.CodecContext.create("libx264" if codec == "h264" else "libx265", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    name = "x264-params" if codec == "h264" else "x265-params"
    parameters = f"repeat-headers=1:annexb=1:bframes=0:keyint={group}:min-keyint={group}:scenecut=0:log-level=none"
    context.options = {name: parameters.replace(":log-level=none", "") if codec == "h264" else parameters}
    noise = np.random.default_rng(1)
    packets = []
    for index in range(frames):
        grey = noise.integers(0, 40, (height * 3 // 2, width), np.uint8) + np.uint8(4 * (index % 50))
        frame = av.VideoFrame.from_ndarray(grey, format="yuv420p")
        frame.pts, frame.time_base = index, Fraction(1, 25)
        packets += context.encode(frame)
    packets += context.encode(None)
    return [split(bytes(packet)) for packet in packets]


def split(annex_b: bytes) -> Unit:
    """Return the NAL units of one frame."""
    return [nal.rstrip(b"\x00") for nal in re.split(b"\x00\x00\x00\x01|\x00\x00\x01", annex_b) if nal]


@dataclass
class RawCamera:
    """One path's frames and faults."""

    units: list[Unit] = field(default_factory=list)
    codec: str = "h264"
    fps: float = 25.0
    title: bytes = b"cam"
    describes_sets: bool = True  # parameter sets in the SDP
    lose: frozenset[int] = frozenset()  # frames that are not sent, though RTP counts them
    auth: tuple[str, ...] = ()  # challenges, in this order
    redirect: str = ""  # answers DESCRIBE with 302 to there
    statuses: dict[str, str] = field(default_factory=dict)  # fixed answers by method
    session_s: float | None = None  # closes when no request came for so long
    # "endless header", "huge body", "lies about body", "dribble", "silent", "random packets", "flood" or "junk"
    fault: str = ""
    control: str = "track1"


class RawServer:
    """Serves cameras by path on a port of its own; `requests` holds every request's lines."""

    def __init__(self, cameras: dict[str, RawCamera], tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[list[str]] = []
        self._cameras = cameras
        self._tls = tls
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="raw rtsp")]
        self._threads[0].start()

    def url(self, path: str, credentials: str = "", host: str = "127.0.0.1") -> str:
        """Return a camera's URL."""
        return f"{'rtsps' if self._tls else 'rtsp'}://{credentials}{host}:{self.port}/{path}"

    def redirect(self, path: str, url: str) -> None:
        """Have a camera answer with 302 from now on."""
        self._cameras[path].redirect = url

    @property
    def methods(self) -> list[str]:
        """The methods that were asked, in order."""
        return [lines[0].split(" ")[0] for lines in self.requests]

    def close(self) -> None:
        """End everything."""
        self._over.set()
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        self._listener.settimeout(0.1)
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                continue
            self._sockets.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,), name="raw rtsp connection"))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        # A peer that closes in the middle, or wants no part of our certificate, is what tests are about.
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None:
                sock.settimeout(60)
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
                sock.settimeout(None)
            _Connection(self, sock, self._cameras, self._over).serve()
        sock.close()


class _Connection:
    """One client."""

    def __init__(
        self, server: RawServer, sock: socket.socket, cameras: dict[str, RawCamera], over: threading.Event
    ) -> None:
        self._server = server
        self._sock = sock
        self._cameras = cameras
        self._over = over
        self._lock = threading.Lock()
        self._heard_s = time.monotonic()
        self._udp: tuple[socket.socket, tuple[str, int]] | None = None
        self._is_left = False
        self._player: threading.Thread | None = None

    def serve(self) -> None:
        """Answer until the client goes."""
        try:
            for lines in self._read():
                self._server.requests.append(lines)
                self._heard_s = time.monotonic()
                method, url, _ = lines[0].split(" ")
                path = re.sub(r"^rtsps?://[^/]*/", "", url).split("/")[0].split("?")[0]
                camera = self._cameras.get(path)
                headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
                self._answer_to(method, url, headers, camera)
        finally:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._is_left = True
            if self._player is not None:
                self._player.join()
            if self._udp is not None:
                self._udp[0].close()

    def _read(self) -> Iterator[list[str]]:
        buffer = b""
        while data := self._sock.recv(4096):
            buffer += data
            while buffer:
                if buffer[:1] == b"$":
                    size = 4 + (struct.unpack(">H", buffer[2:4])[0] if len(buffer) >= 4 else 1 << 16)
                    if len(buffer) < size:
                        break
                    buffer = buffer[size:]
                elif b"\r\n\r\n" in buffer:
                    head, buffer = buffer.split(b"\r\n\r\n", 1)
                    yield head.decode().split("\r\n")
                else:
                    break

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._sock.sendall(data)

    def _answer(self, headers: dict[str, str], status: str = "200 OK", *lines: str, body: bytes = b"") -> None:
        head = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', '0')}", *lines]
        if body:
            head.append(f"Content-Length: {len(body)}")
        self._send("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def _answer_to(self, method: str, url: str, headers: dict[str, str], camera: RawCamera | None) -> None:
        if camera is None:
            self._answer(headers, "404 Not Found")
        elif camera.fault == "dribble":
            self._dribble(headers)
        elif method in camera.statuses:
            self._answer(headers, camera.statuses[method])
        elif method == "OPTIONS":
            self._answer(headers, "200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif camera.auth and not _is_authorized(method, headers.get("authorization", ""), camera.auth):
            challenges = [f"WWW-Authenticate: {CHALLENGES[name]}" for name in camera.auth]
            self._answer(headers, "401 Unauthorized", *challenges)
        elif method == "DESCRIBE":
            self._describe(url, headers, camera)
        elif method == "SETUP":
            self._set_up(headers, camera)
        else:
            self._answer(headers, "200 OK", "Session: 4711")
            if method == "PLAY":
                self._player = threading.Thread(target=self._play, args=(camera,), name="raw rtsp player")
                self._player.start()

    def _dribble(self, headers: dict[str, str]) -> None:
        for byte in f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nX: {'y' * 1000}\r\n\r\n".encode():
            self._send(bytes([byte]))
            if self._over.wait(0.1):
                return

    def _describe(self, url: str, headers: dict[str, str], camera: RawCamera) -> None:
        ok = f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\n"
        if camera.redirect:
            self._answer(headers, "302 Moved Temporarily", f"Location: {camera.redirect}")
        elif camera.fault == "endless header":
            self._send(ok.encode())
            while not self._over.is_set():
                self._send(b"X-Junk: " + b"A" * 60000 + b"\r\n")
        elif camera.fault in ("huge body", "lies about body"):
            size = 1_900_000_000 if camera.fault == "huge body" else 100_000
            self._send((ok + f"Content-Type: application/sdp\r\nContent-Length: {size}\r\n\r\n").encode())
            while not self._over.is_set() and camera.fault == "huge body":
                self._send(b"a=x:" + b"y" * 100_000 + b"\r\n")
        else:
            lines = ("Content-Type: application/sdp", f"Content-Base: {url}/")
            self._answer(headers, "200 OK", *lines, body=_sdp(camera))

    def _set_up(self, headers: dict[str, str], camera: RawCamera) -> None:
        transport = headers["transport"]
        timeout = "" if camera.session_s is None else f";timeout={camera.session_s:g}"
        if "interleaved" in transport:
            said = "RTP/AVP/TCP;unicast;interleaved=0-1"
        else:
            port = int(re.findall(r"client_port=(\d+)", transport)[0])
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            self._udp = sock, (self._sock.getpeername()[0], port)
            own = sock.getsockname()[1]
            said = f"RTP/AVP;unicast;client_port={port}-{port + 1};server_port={own}-{own + 1}"
        self._answer(headers, "200 OK", f"Transport: {said}", f"Session: 4711{timeout}")

    def _play(self, camera: RawCamera) -> None:
        with contextlib.suppress(OSError):
            if camera.fault == "random packets":
                self._play_random()
            elif camera.fault == "flood":
                self._flood()
            elif camera.fault != "silent":
                self._play_frames(camera)

    def _is_over(self) -> bool:
        return self._over.is_set() or self._is_left

    def _play_random(self) -> None:
        draw, number = random.Random(7), 0
        while not self._is_over():
            body = os.urandom(draw.choice([0, 1, 2, 5, 100, 1400, 60000]))
            body = bytes([draw.choice([0x7C, 0x65, 0x67, 0x68, 0x78, 0x7D, 0x18])]) + body
            kind = draw.choice([96, 96, 96, 0xE0, 0xE0, 5])
            packet = struct.pack("!BBHII", 0x80, kind, number & 0xFFFF, number * 3600 & 0xFFFFFFFF, 7) + body
            number += draw.choice([1, 1, 1, 1, 2, 1000])
            self._send(struct.pack("!cBH", b"$", draw.choice([0, 0, 0, 1, 9]), len(packet)) + packet)
            time.sleep(0.002)

    def _flood(self) -> None:
        packet = struct.pack("!BBHII", 0x80, 96, 0, 0, 7)
        data = (struct.pack("!cBH", b"$", 0, len(packet)) + packet) * 10_000
        while not self._is_over():
            self._send(data)

    def _play_frames(self, camera: RawCamera) -> None:
        begun_s, number = time.monotonic(), 100
        for index in range(1 << 30):
            time.sleep(max(0.0, begun_s + index / camera.fps - time.monotonic()))
            session_s = camera.session_s
            if self._is_over() or (session_s is not None and time.monotonic() - self._heard_s > session_s):
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)
                return
            stamp = (2**32 - 90_000 + int(index * 90_000 / camera.fps)) & 0xFFFFFFFF
            unit = camera.units[index % len(camera.units)]
            bodies = [body for nal in unit for body in _payloads(nal, camera.codec)]
            if camera.fault == "junk" and index % 5 == 4:
                self._send(os.urandom(60).replace(b"$", b"#"))
            for at, body in enumerate(bodies):
                marker = 0x80 if at == len(bodies) - 1 else 0
                packet = struct.pack(">BBHII", 0x80, marker | PAYLOAD_TYPE, number & 0xFFFF, stamp, 0x1234) + body
                number += 1
                if index not in camera.lose:
                    self._send_packet(packet)

    def _send_packet(self, packet: bytes) -> None:
        if self._udp is not None:
            self._udp[0].sendto(packet, self._udp[1])
        else:
            self._send(b"$\x00" + struct.pack(">H", len(packet)) + packet)


def _sdp(camera: RawCamera) -> bytes:
    sets = [nal for nal in camera.units[0] if _kind(nal, camera.codec) in _KEEPS[camera.codec]] if camera.units else []
    encoded = [base64.b64encode(nal).decode() for nal in sets]
    if camera.codec == "h264":
        parameters = "packetization-mode=1;sprop-parameter-sets=" + ",".join(encoded)
    else:
        names = ("sprop-vps", "sprop-sps", "sprop-pps")
        parameters = ";".join(f"{name}={text}" for name, text in zip(names, encoded, strict=False))
    lines = [
        b"v=0",
        b"o=- 1 1 IN IP4 127.0.0.1",
        b"s=" + camera.title,
        b"c=IN IP4 0.0.0.0",
        b"t=0 0",
        b"a=control:*",
        b"m=video 0 RTP/AVP %d" % PAYLOAD_TYPE,
        b"a=rtpmap:%d %s/90000" % (PAYLOAD_TYPE, b"H264" if camera.codec == "h264" else b"H265"),
        *([f"a=fmtp:{PAYLOAD_TYPE} {parameters}".encode()] if camera.describes_sets and encoded else []),
        b"a=control:" + camera.control.encode(),
    ]
    return b"\r\n".join(lines) + b"\r\n"


def _kind(nal: bytes, codec: str) -> int:
    return nal[0] & 31 if codec == "h264" else nal[0] >> 1 & 63


def _payloads(nal: bytes, codec: str) -> list[bytes]:
    if len(nal) <= MTU:
        return [nal]
    header_bytes = 1 if codec == "h264" else 2
    head, body, kind = nal[:header_bytes], nal[header_bytes:], _kind(nal, codec)
    indicator = bytes([head[0] & 0xE0 | 28]) if codec == "h264" else bytes([head[0] & 0x81 | 49 << 1, head[1]])
    chunks = [body[at : at + MTU - 3] for at in range(0, len(body), MTU - 3)]
    return [
        indicator + bytes([(at == 0) << 7 | (at == len(chunks) - 1) << 6 | kind]) + chunk
        for at, chunk in enumerate(chunks)
    ]


def _is_authorized(method: str, given: str, offered: tuple[str, ...]) -> bool:
    """Check an `Authorization` header as RFC 7616 and 7617 have it, independently of the product's code."""
    if given.startswith("Basic "):
        return "basic" in offered and base64.b64decode(given[6:]) == f"{USER}:{PASSWORD}".encode()
    fields = {
        key: quoted or plain for key, quoted, plain in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))', given)
    }
    name = next((name for name in offered if f'nonce="{fields.get("nonce")}"' in CHALLENGES[name]), None)
    if not given.startswith("Digest ") or name is None:
        return False
    algorithm = "sha256" if name == "sha256" else "md5"

    def digest(text: str) -> str:
        return hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()

    realm = fields["realm"].replace('\\"', '"')
    secret, request = digest(f"{USER}:{realm}:{PASSWORD}"), digest(f"{method}:{fields['uri']}")
    if "qop" in CHALLENGES[name]:
        middle = f"{fields['nonce']}:{fields['nc']}:{fields['cnonce']}:{fields['qop']}"
    else:
        middle = fields["nonce"]
    return bool(fields["response"] == digest(f"{secret}:{middle}:{request}"))
