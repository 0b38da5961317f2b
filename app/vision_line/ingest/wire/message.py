# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP messages as text (RFC 2326 4 to 7): what a camera answers or asks, and what it is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

_STATUS = re.compile(r"RTSP/\d+\.\d+\s+(\d{3})\s*(.*)")
_REQUEST = re.compile(r"([A-Z_]{3,16}) \S+ RTSP/\d+\.\d+")
_LINE_END = re.compile(r"\r?\n")
_DIGITS = re.compile(r"\d{1,12}")


class ProtocolError(Exception):
    """The peer does not keep to RTSP, or to the bounds that are set for it; the message says how."""


@dataclass(frozen=True, slots=True)
class Message:
    """A response or a request; header names are in lower case, in their order."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    def headers_of(self, name: str) -> list[str]:
        """Return all values of a header."""
        return [value for key, value in self.headers if key == name]

    @property
    def status(self) -> int | None:
        """The status of a response; None for a request."""
        found = _STATUS.fullmatch(self.start)
        return int(found[1]) if found else None

    @property
    def reason(self) -> str:
        """Status and reason for people, shortened: the camera chose the words."""
        found = _STATUS.fullmatch(self.start)
        return f"{found[1]} {found[2][:80]}".strip() if found else self.start[:80]

    @property
    def method(self) -> str | None:
        """The method of a request; None for a response."""
        found = _REQUEST.fullmatch(self.start)
        return found[1] if found else None

    @property
    def number(self) -> int | None:
        """The CSeq."""
        return _number(self.header("cseq"))

    @property
    def body_bytes(self) -> int:
        """How long the body is to be."""
        return _number(self.header("content-length")) or 0

    def with_body(self, body: bytes) -> Message:
        """Return the message with its body."""
        return replace(self, body=body) if body else self


def parse_head(head: bytes) -> Message:
    """Return the message that a start line and headers, without the empty line, say.

    Raises:
        ProtocolError: it is neither a response nor a request.
    """
    start, *lines = (_printable(line) for line in _LINE_END.split(head.decode("utf-8", "replace")))
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if line[:1] == " " and headers:  # a folded header continues
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
        elif colon:
            headers.append((name.strip().lower(), value.strip()))
    message = Message(start.strip(), tuple(headers))
    if message.status is None and message.method is None:
        raise ProtocolError("an answer that is not RTSP")
    return message


def format_request(method: str, url: str, headers: Mapping[str, str]) -> bytes:
    """Return a request's bytes."""
    lines = [f"{method} {url} RTSP/1.0", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "replace")


def format_answer(request: Message, *, is_known: bool) -> bytes:
    """Return our answer to a camera's request: some ask for signs of life."""
    status = "200 OK" if is_known else "501 Not Implemented"
    return f"RTSP/1.0 {status}\r\nCSeq: {request.number or 0}\r\n\r\n".encode()


def _printable(line: str) -> str:
    """Return a line without control characters: parts of it come back in requests, and in what people read."""
    return line if line.isprintable() else "".join(char if char.isprintable() else " " for char in line)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _DIGITS.fullmatch(text) else None
