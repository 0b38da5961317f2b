# SPDX-License-Identifier: AGPL-3.0-or-later
"""Modbus TCP as bytes: cut anywhere, each request is answered once; what is no request is refused as Modbus says."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.lanes.modbus_wire import ExceptionCode, FrameError, ModbusRequest, RefusedError, answer, take_requests


class Plain:
    """Registers of which each has its address as its value."""

    def __init__(self) -> None:
        self.written: list[tuple[int, list[int]]] = []

    def read_inputs(self, address: int, count: int) -> list[int]:
        return [*range(address, address + count)]

    def read_holdings(self, address: int, count: int) -> list[int]:
        if address >= 50:
            raise RefusedError(ExceptionCode.ILLEGAL_ADDRESS, "beyond")
        return [*range(address, address + count)]

    def write(self, address: int, words: Sequence[int]) -> None:
        self.written.append((address, list(words)))


def frame(body: bytes, transaction: int = 7, unit: int = 1) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body


requests = st.lists(
    st.builds(ModbusRequest, st.integers(0, 65535), st.integers(0, 255), st.binary(min_size=1, max_size=253)),
    max_size=5,
)


@settings(max_examples=50)
@given(requests, st.integers(1, 300))
def test_requests_are_the_same_wherever_the_stream_is_cut(sent: list[ModbusRequest], step: int) -> None:
    stream = b"".join(frame(each.body, each.transaction, each.unit) for each in sent)
    buffer, found = bytearray(), []
    for at in range(0, len(stream), step):
        buffer += stream[at : at + step]
        found += take_requests(buffer)
    assert found == sent
    assert not buffer


@pytest.mark.parametrize(
    "header", [b"GET / HTTP", struct.pack(">HHHB", 1, 0, 1, 1), struct.pack(">HHHB", 1, 0, 300, 1)]
)
def test_what_is_no_modbus_is_not_waited_for(header: bytes) -> None:
    with pytest.raises(FrameError):
        take_requests(bytearray(header))


@given(st.integers(0, 255), st.binary(min_size=1, max_size=253))
def test_any_body_gets_one_answer_that_fits_into_a_frame(unit: int, body: bytes) -> None:
    found = answer(ModbusRequest(9, unit, body), Plain())
    transaction, protocol, length, said = struct.unpack_from(">HHHB", found)
    assert (transaction, protocol, said) == (9, 0, unit)
    assert len(found) == length + 6 <= 260
    assert found[7] & 0x7F == body[0] & 0x7F


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (struct.pack(">BHH", 4, 3, 2), "04 04 0003 0004"),
        (struct.pack(">BHH", 3, 3, 1), "03 02 0003"),
        (struct.pack(">BHH", 6, 3, 0xABCD), "06 0003 ABCD"),
        (struct.pack(">BHHBHH", 16, 3, 2, 4, 1, 2), "10 0003 0002"),
        (struct.pack(">BHH", 3, 50, 1), "83 02"),
        (struct.pack(">BHH", 4, 0, 126), "84 03"),
        (struct.pack(">BHH", 4, 0, 0), "84 03"),
        (struct.pack(">BHHBH", 16, 3, 2, 4, 1), "90 03"),
        (struct.pack(">BH", 6, 3), "86 03"),
        (struct.pack(">BHH", 5, 0, 0xFF00), "85 01"),
        (b"\x2b", "AB 01"),
    ],
)
def test_answers(body: bytes, expected: str) -> None:
    assert answer(ModbusRequest(1, 1, body), Plain())[7:] == bytes.fromhex(expected)


@pytest.mark.parametrize(("unit", "is_ours"), [(0, True), (1, True), (255, True), (2, False)])
def test_units(unit: int, is_ours: bool) -> None:
    assert answer(ModbusRequest(1, unit, struct.pack(">BHH", 4, 0, 1)), Plain())[7] == (4 if is_ours else 0x84)


def test_words_are_written_in_their_order() -> None:
    registers = Plain()
    answer(ModbusRequest(1, 1, struct.pack(">BHHBHH", 16, 3, 2, 4, 1, 0xFFFF)), registers)
    answer(ModbusRequest(1, 1, struct.pack(">BHH", 6, 9, 5)), registers)
    assert registers.written == [(3, [1, 0xFFFF]), (9, [5])]
