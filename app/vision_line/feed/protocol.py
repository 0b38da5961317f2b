# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages of the feed as bytes: two lengths, a header in JSON, a payload. Pure.

In this order:
    4 bytes  length of the header, big-endian
    4 bytes  length of the payload, big-endian, 0: none
    header   a JSON object in UTF-8; `kind` says what the message is
    payload  bytes as they are: an encoded frame, a codec's parameter sets
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

#: Version of the protocol. It rises when a client that knows the old one would be wrong; new kinds and new keys are no
#: such change: a client ignores what it does not know.
PROTOCOL = 1
#: Name of the socket in the record directory.
SOCKET_NAME = "feed.sock"

#: The longest reason that is given when a connection is ended, in characters.
MAX_REASON = 300
_LENGTHS = struct.Struct(">II")
#: How deep a header may be nested: far below what the JSON reader's recursion stands.
_MAX_DEPTH = 32
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


#: A message's header: a JSON object.
Header: TypeAlias = dict[str, Any]


class FeedFormatError(ValueError):
    """What was received is no message."""


class FeedMessage(NamedTuple):
    """One message: its header, and the bytes behind it."""

    header: Header
    payload: bytes = b""

    @property
    def kind(self) -> str:
        """What it is."""
        return str(self.header["kind"])


@dataclass(frozen=True, slots=True)
class Limits:
    """The longest header and payload that a receiver takes, in bytes."""

    header: int
    payload: int


#: What a run sends: a snapshot of 1000 cameras, a keyframe of a large sensor as JPEG.
FROM_RUN = Limits(header=1 << 20, payload=32 << 20)
#: What a client sends: wishes.
FROM_CLIENT = Limits(header=1 << 16, payload=0)


def packed(header: Mapping[str, object], payload: bytes = b"") -> bytes:
    """Return a message as bytes.

    A figure that is not finite becomes null: JSON has none.
    """
    return packed_header(header, len(payload)) + payload


def packed_header(header: Mapping[str, object], payload_size: int) -> bytes:
    """Return a message up to its payload of `payload_size` bytes, which is sent behind it as it is."""
    try:
        text = _json(header)
    except ValueError:
        text = _json(_finite(header))
    return _LENGTHS.pack(len(text), payload_size) + text


class Unpacker:
    """Puts messages together from pieces of any size; holds at most one that is not whole."""

    def __init__(self, limits: Limits) -> None:
        """Take messages up to `limits`."""
        self._limits = limits
        self._buffer = bytearray()

    def push(self, data: bytes | memoryview) -> Iterator[FeedMessage]:
        """Yield the messages that `data` completes.

        Raises:
            FeedFormatError: it is none; nothing that follows can be read.
        """
        self._buffer += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> FeedMessage | None:
        if len(self._buffer) < _LENGTHS.size:
            return None
        header_size, payload_size = _LENGTHS.unpack_from(self._buffer)
        if header_size > self._limits.header or payload_size > self._limits.payload:
            raise FeedFormatError(
                f"expected a header of at most {self._limits.header} bytes and a payload of at most "
                f"{self._limits.payload}, found {header_size} and {payload_size}"
            )
        begin, end = _LENGTHS.size + header_size, _LENGTHS.size + header_size + payload_size
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as whole:
            text, payload = bytes(whole[_LENGTHS.size : begin]), bytes(whole[begin:end])
        header = _read_header(text)
        del self._buffer[:end]
        return FeedMessage(header, payload)


def _read_header(text: bytes) -> Header:
    _check_depth(text)
    try:
        header = _DECODER.decode(text.decode())
    except ValueError as exc:
        raise FeedFormatError(f"expected a header in JSON: {exc}") from exc
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
        raise FeedFormatError("expected a JSON object with a kind as the header")
    return header


def _check_depth(text: bytes) -> None:
    """Refuse what would end in a RecursionError; brackets in strings count too, which no real header minds."""
    if text.count(b"[") + text.count(b"{") <= _MAX_DEPTH:
        return
    depth = 0
    for bracket in text.translate(None, _NO_BRACKETS):  # each byte of a snapshot would take longer than reading it
        depth += 1 if bracket in b"[{" else -1
        if depth > _MAX_DEPTH:
            raise FeedFormatError(f"expected a header that is nested at most {_MAX_DEPTH} deep")


def _no_constant(name: str) -> None:
    raise FeedFormatError(f"expected a header in JSON, which has no {name}")


# Made once: `json.loads` and `json.dumps` make others for each message where they are told anything.
_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _json(header: object) -> bytes:
    return _ENCODER.encode(header).encode()


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
