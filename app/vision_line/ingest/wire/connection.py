# SPDX-License-Identifier: AGPL-3.0-or-later
"""One TCP connection to a camera, encrypted or not, read in steps that never block for long."""

from __future__ import annotations

import contextlib
import math
import re
import socket
import ssl
import struct
from typing import NamedTuple

from vision_line.ingest.wire.message import Message, ProtocolError, parse_head

SEND_LIMIT_S = 5.0

MAX_HEAD_BYTES = 32 << 10
MAX_BODY_BYTES = 128 << 10
MAX_JUNK_BYTES = 1 << 20  # some cameras put a few bytes between packets; this many in a row are not RTSP
BUFFER_BYTES = 256 << 10  # holds the largest message, or the largest packet and some

_DOLLAR = 0x24
_PREFIX = struct.Struct(">HH")  # of a packet: the dollar sign with its channel, and its size
_PREFIX_BYTES = _PREFIX.size
_TIMEVAL = struct.Struct("@ll")  # seconds and microseconds, as the kernel takes them
_MEDIA_CHANNELS = 16  # packets of higher channels are not looked for where the place in the stream was lost
_LINE_ENDS = frozenset(b"\r\n")
_HEAD_BEGINS = re.compile(rb"RTSP/\d|[A-Z_]{3,16} ")
_HEAD_MAY_BEGIN = re.compile(rb"R(T(S(P/?)?)?)?|[A-Z_]{1,16}")


class Interleaved(NamedTuple):
    """A packet among the messages; `data` is a view that is valid until more is read."""

    channel: int
    data: memoryview


class Framer:
    """Cuts what comes over an RTSP connection into messages and interleaved packets (RFC 2326 10.12), in fixed memory.

    Write into `space()`, say how much with `filled`, then `take` until None. Pure: however the network cut the bytes.
    """

    def __init__(self) -> None:
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._at = 0
        self._end = 0
        self._junk = 0
        # The head of the message whose body is coming, and its length: a camera may send that byte by byte.
        self._awaited: tuple[Message, int] | None = None

    def space(self) -> memoryview:
        """Return where the next bytes go; views that were taken are invalid from here on."""
        if self._at == self._end:  # nearly always: all was taken
            self._at = self._end = 0
            return self._view
        if self._at:
            rest = self._end - self._at
            self._buffer[:rest] = self._buffer[self._at : self._end]
            self._at, self._end = 0, rest
        return self._view[self._end :]

    def filled(self, n: int) -> None:
        """Take in that `n` bytes were written."""
        self._end += n

    def take(self) -> Interleaved | Message | None:
        """Return the next item that is complete, or None.

        Raises:
            ProtocolError: the peer breaks a bound, or does not speak RTSP.
        """
        while self._at < self._end:
            if self._buffer[self._at] == _DOLLAR:
                return self._packet()
            if not self._skip_to_head():
                continue
            return self._message()
        return None

    def take_run(self, channel: int) -> list[memoryview]:
        """Take the complete packets of one channel that come next, up to anything else: nearly all that a camera sends.

        They are valid until more is read.
        """
        buffer, view, unpack = self._buffer, self._view, _PREFIX.unpack_from
        wanted = _DOLLAR << 8 | channel
        at, end = self._at + _PREFIX_BYTES, self._end  # `at` is where a packet begins, behind its prefix
        run = []
        while at <= end:
            mark, size = unpack(buffer, at - _PREFIX_BYTES)
            following = at + size
            if mark != wanted or following > end:
                break
            run.append(view[at:following])
            at = following + _PREFIX_BYTES
        if run:
            self._at, self._junk = at - _PREFIX_BYTES, 0
        return run

    def _packet(self) -> Interleaved | None:
        at, left = self._at, self._end - self._at
        if left < _PREFIX_BYTES:
            return None
        size = self._buffer[at + 2] << 8 | self._buffer[at + 3]
        if left < _PREFIX_BYTES + size:
            return None
        self._junk = 0
        self._at = at + _PREFIX_BYTES + size
        return Interleaved(self._buffer[at + 1], self._view[at + _PREFIX_BYTES : self._at])

    def _skip_to_head(self) -> bool:
        """Return whether a message may begin here; what cannot be one is skipped up to the next possible item."""
        at, end = self._at, self._end
        if self._buffer[at] in _LINE_ENDS:
            self._at += 1
            return False
        here = bytes(self._buffer[at : min(end, at + 20)])
        if _HEAD_BEGINS.match(here) or (end - at < len(here) + 1 and _HEAD_MAY_BEGIN.fullmatch(here)):
            return True
        self._at = self._next_candidate(at + 1, end)
        self._junk += self._at - at
        if self._junk > MAX_JUNK_BYTES:
            raise ProtocolError(f"{self._junk} bytes that are neither a message nor a packet")
        return False

    def _next_candidate(self, at: int, end: int) -> int:
        text = self._buffer.find(b"RTSP/", at, end)
        packet = self._buffer.find(b"$", at, end)
        while 0 <= packet < end - 1 and self._buffer[packet + 1] >= _MEDIA_CHANNELS:
            packet = self._buffer.find(b"$", packet + 1, end)
        return min(place if place >= 0 else end for place in (text, packet))

    def _message(self) -> Message | None:
        if self._awaited is None:
            self._awaited = self._head()
        if self._awaited is None:
            return None
        message, head_bytes = self._awaited
        body_at = self._at + head_bytes
        if self._end - body_at < message.body_bytes:
            return None
        self._awaited = None
        self._at = body_at + message.body_bytes
        self._junk = 0
        return message.with_body(bytes(self._buffer[body_at : self._at]))

    def _head(self) -> tuple[Message, int] | None:
        """Return the head that stands here, with its length, if it is complete."""
        head_end = self._buffer.find(b"\r\n\r\n", self._at, self._end)
        if (self._end if head_end < 0 else head_end) - self._at > MAX_HEAD_BYTES:
            raise ProtocolError(f"an answer's header of more than {MAX_HEAD_BYTES} bytes")
        if head_end < 0:
            return None
        message = parse_head(bytes(self._buffer[self._at : head_end]))
        if message.body_bytes > MAX_BODY_BYTES:
            raise ProtocolError(f"an answer of {message.body_bytes} bytes, at most {MAX_BODY_BYTES} are taken")
        return message, head_end + 4 - self._at


class Connection:
    """A connected socket with its framer. Used by one thread.

    Nearly all calls are reads. So between them the socket blocks, and the kernel ends a read in which nothing comes: a
    timeout of Python's polls before each read, two system calls that both give up the GIL. TLS keeps that, because
    there a read may take several of the socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.framer = Framer()
        self._sock = sock
        self._is_encrypted = isinstance(sock, ssl.SSLSocket)
        self._read_limit_s: float | None = None  # None: the next read has to set it
        with contextlib.suppress(OSError):  # keeps requests from waiting for each other
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def socket(self) -> socket.socket:
        """The socket: to wait for it beside others, and to ask it for addresses."""
        return self._sock

    def receive(self, within_s: float) -> int:
        """Read what is there into the framer; return how many bytes, 0 if nothing came in time.

        Raises:
            ConnectionAbortedError: the camera closed the connection.
            OSError: it is lost.
        """
        if within_s != self._read_limit_s:
            self._limit_reads(within_s)
        try:
            n = self._sock.recv_into(self.framer.space())
        except (TimeoutError, BlockingIOError):  # by Python's clock, by the kernel's
            return 0
        if not n:
            raise ConnectionAbortedError("closed by the camera")
        self.framer.filled(n)
        return n

    def send(self, data: bytes, within_s: float = SEND_LIMIT_S) -> None:
        """Send all of `data`.

        Raises:
            OSError: the connection is lost, or the camera does not read.
        """
        self._read_limit_s = None
        self._sock.settimeout(within_s)  # of the whole: the kernel would begin anew with each part that it takes
        self._sock.sendall(data)

    def close(self) -> None:
        """Close it; idempotent."""
        self._sock.close()

    def _limit_reads(self, within_s: float) -> None:
        """Let reads wait so long from here on, at least a millisecond: 0 would mean for ever."""
        limit_s = max(0.001, within_s)
        self._sock.settimeout(limit_s if self._is_encrypted else None)
        if not self._is_encrypted:
            limit = _TIMEVAL.pack(*divmod(math.ceil(limit_s * 1e6), 1_000_000))
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._read_limit_s = within_s
