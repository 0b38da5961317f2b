# SPDX-License-Identifier: AGPL-3.0-or-later
"""Modbus TCP as bytes: requests are cut out of a stream, and answered from registers. Pure.

Each frame has a header of 7 bytes (transaction, protocol 0, length, unit) and a body: a function code and its data.
All numbers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol

from vision_line.errors import VisionLineError

_HEADER = struct.Struct(">HHHB")
#: The longest body that Modbus allows, in bytes.
MAX_BODY = 253
#: How many words one request may read, and write.
MAX_READ, MAX_WRITE = 125, 123
#: A device that is reached by its address may be called by these; anything else is behind a gateway that we are not.
UNITS = frozenset({0, 1, 255})


class ExceptionCode(IntEnum):
    """Why a request is refused, as Modbus numbers it."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    BUSY = 6
    NO_SUCH_UNIT = 11


class FrameError(VisionLineError):
    """What comes is no Modbus; nothing behind it can be understood."""


class RefusedError(VisionLineError):
    """A request that is understood and not done."""

    def __init__(self, code: ExceptionCode, message: str) -> None:
        """Keep the code that the client is sent."""
        super().__init__(message)
        self.code = code


class ModbusRequest(NamedTuple):
    """One request as it came."""

    transaction: int
    unit: int
    body: bytes


class Registers(Protocol):
    """What a client reads and writes; each raises `RefusedError`."""

    def read_inputs(self, address: int, count: int) -> Sequence[int]:
        """Return input registers, function 4."""

    def read_holdings(self, address: int, count: int) -> Sequence[int]:
        """Return holding registers, function 3."""

    def write(self, address: int, words: Sequence[int]) -> None:
        """Take holding registers, functions 6 and 16."""


def take_requests(buffer: bytearray) -> list[ModbusRequest]:
    """Cut every whole request off the begin of `buffer`.

    Raises:
        FrameError: it is no Modbus.
    """
    requests = []
    while len(buffer) >= _HEADER.size:
        transaction, protocol, length, unit = _HEADER.unpack_from(buffer)
        if protocol != 0 or not 2 <= length <= MAX_BODY + 1:
            raise FrameError(f"no Modbus TCP: protocol {protocol}, length {length}")
        end = 6 + length
        if len(buffer) < end:
            break
        requests.append(ModbusRequest(transaction, unit, bytes(buffer[_HEADER.size : end])))
        del buffer[:end]
    return requests


def answer(request: ModbusRequest, registers: Registers) -> bytes:
    """Return the frame that answers `request`; never raises for what a client sent."""
    function = request.body[0]
    try:
        if request.unit not in UNITS:
            raise RefusedError(ExceptionCode.NO_SUCH_UNIT, f"unit {request.unit}")
        body = bytes([function]) + _handler(function)(request.body[1:], registers)
    except RefusedError as exc:
        body = bytes([function | 0x80, exc.code])
    return _HEADER.pack(request.transaction, 0, len(body) + 1, request.unit) + body


def _handler(function: int) -> Callable[[bytes, Registers], bytes]:
    if function not in _HANDLERS:
        raise RefusedError(ExceptionCode.ILLEGAL_FUNCTION, f"function {function}")
    return _HANDLERS[function]


def _read_holdings(data: bytes, registers: Registers) -> bytes:
    return _packed(registers.read_holdings(*_span(data, MAX_READ)))


def _read_inputs(data: bytes, registers: Registers) -> bytes:
    return _packed(registers.read_inputs(*_span(data, MAX_READ)))


def _write_one(data: bytes, registers: Registers) -> bytes:
    if len(data) != 4:
        raise RefusedError(ExceptionCode.ILLEGAL_VALUE, "length")
    address, word = struct.unpack(">HH", data)
    registers.write(address, [word])
    return data


def _write_many(data: bytes, registers: Registers) -> bytes:
    address, count = _span(data[:4], MAX_WRITE)
    if len(data) != 5 + 2 * count or data[4] != 2 * count:
        raise RefusedError(ExceptionCode.ILLEGAL_VALUE, "length")
    registers.write(address, struct.unpack(f">{count}H", data[5:]))
    return data[:4]


def _span(data: bytes, most: int) -> tuple[int, int]:
    """Return the address and count of a request."""
    if len(data) != 4:
        raise RefusedError(ExceptionCode.ILLEGAL_VALUE, "length")
    address, count = struct.unpack(">HH", data)
    if not 1 <= count <= most:
        raise RefusedError(ExceptionCode.ILLEGAL_VALUE, f"{count} words")
    return address, count


def _packed(words: Sequence[int]) -> bytes:
    return struct.pack(f">B{len(words)}H", 2 * len(words), *words)


_HANDLERS: dict[int, Callable[[bytes, Registers], bytes]] = {
    3: _read_holdings,
    4: _read_inputs,
    6: _write_one,
    16: _write_many,
}
