# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP as bytes: however the network cuts it the same items come out, in bounded memory; foreign text does no harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.ingest.wire.connection import BUFFER_BYTES, MAX_BODY_BYTES, MAX_HEAD_BYTES, Framer, Interleaved
from vision_line.ingest.wire.message import Message, ProtocolError, format_request, parse_head

ANSWER = b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Length: 5\r\n\r\nhello"
REQUEST = b"OPTIONS rtsp://host RTSP/1.0\r\nCSeq: 1\r\n\r\n"


def packet(channel: int, body: bytes) -> bytes:
    """Return an interleaved packet."""
    return b"$" + bytes([channel]) + len(body).to_bytes(2, "big") + body


def feed(framer: Framer, data: bytes) -> list[tuple[int, bytes] | Message]:
    """Write `data` and return what came out."""
    out: list[tuple[int, bytes] | Message] = []
    while data:
        space = framer.space()
        n = min(len(space), len(data))
        space[:n] = data[:n]
        framer.filled(n)
        data = data[n:]
        while (item := framer.take()) is not None:
            out.append((item.channel, bytes(item.data)) if isinstance(item, Interleaved) else item)
    return out


items = st.lists(
    st.one_of(st.just(ANSWER), st.just(REQUEST), st.builds(packet, st.integers(0, 255), st.binary(max_size=200))),
    max_size=12,
)


@given(items, st.integers(0, 3))
def test_runs_of_a_channel_lose_nothing(sent: list[bytes], channel: int) -> None:
    """What is taken in runs and what is taken singly are the same items in the same order, each once."""
    data = b"".join(packet(item[1] % 4, item[4:]) if item.startswith(b"$") else item for item in sent)
    whole = feed(Framer(), data)
    framer, out = Framer(), list[tuple[int, bytes] | Message]()
    framer.space()[: len(data)] = data
    framer.filled(len(data))
    while True:
        out += [(channel, bytes(view)) for view in framer.take_run(channel)]
        item = framer.take()
        if item is None:
            break
        assert not (isinstance(item, Interleaved) and item.channel == channel)
        out.append((item.channel, bytes(item.data)) if isinstance(item, Interleaved) else item)
    assert out == whole


@given(items, st.lists(st.integers(1, 60), max_size=40))
def test_cuts_mean_nothing(sent: list[bytes], cuts: list[int]) -> None:
    """The network may cut anywhere."""
    data = b"".join(sent)
    whole = feed(Framer(), data)
    assert len(whole) == len(sent)
    framer, out, at = Framer(), [], 0
    for cut in cuts:
        out += feed(framer, data[at : at + cut])
        at += cut
    out += feed(framer, data[at:])
    assert out == whole


def test_the_body_belongs_to_its_message() -> None:
    """And the headers are read whatever their case."""
    (answer,) = feed(Framer(), ANSWER)
    assert isinstance(answer, Message)
    assert (answer.status, answer.number, answer.body, answer.method) == (200, 3, b"hello", None)
    (request,) = feed(Framer(), REQUEST)
    assert isinstance(request, Message)
    assert (request.status, request.method) == (None, "OPTIONS")


def test_a_body_that_comes_byte_by_byte_costs_its_head_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte would cost as much as the longest head otherwise, in a thread that others wait for."""
    heads: list[bytes] = []

    def parse(head: bytes) -> Message:
        heads.append(head)
        return parse_head(head)

    monkeypatch.setattr("vision_line.ingest.wire.connection.parse_head", parse)
    framer = Framer()
    one = b"RTSP/1.0 200 OK\r\nContent-Length: 300\r\n\r\n" + b"$" * 300
    found = [item for byte in one + one for item in feed(framer, bytes([byte]))]

    assert [item.body for item in found if isinstance(item, Message)] == [b"$" * 300] * 2
    assert len(heads) == 2


def test_junk_before_a_packet_is_skipped() -> None:
    """Bytes that belong to nothing, also a dollar sign among them."""
    junk = b"\x00\xffgarbage $\xf0 more\r\n"
    assert feed(Framer(), junk + packet(0, b"abc") + junk + ANSWER)[0] == (0, b"abc")


@pytest.mark.parametrize(
    "data",
    [
        b"RTSP/1.0 200 OK\r\n" + b"X: " + b"y" * MAX_HEAD_BYTES,
        b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * (MAX_HEAD_BYTES // 6 + 1),
        b"RTSP/1.0 200 OK\r\nContent-Length: 1900000000\r\n\r\n",
        f"RTSP/1.0 200 OK\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode(),
        b"\xff" * (2 << 20),
    ],
    ids=["one long line", "many lines", "huge body", "body above the bound", "junk only"],
)
def test_what_has_no_end_is_refused(data: bytes) -> None:
    """Before it is read."""
    with pytest.raises(ProtocolError):
        feed(Framer(), data)


def test_the_largest_body_and_packet_fit() -> None:
    """The bounds themselves are taken."""
    body = b"x" * MAX_BODY_BYTES
    (answer,) = feed(Framer(), f"RTSP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    assert isinstance(answer, Message)
    assert len(answer.body) == MAX_BODY_BYTES
    assert feed(Framer(), packet(2, b"z" * 65535)) == [(2, b"z" * 65535)]
    assert BUFFER_BYTES >= MAX_HEAD_BYTES + MAX_BODY_BYTES + 4


@given(st.binary(max_size=3000))
def test_any_bytes_give_items_or_an_error(data: bytes) -> None:
    """Nothing that is sent makes it fail otherwise, or stand still with a full buffer."""
    framer = Framer()
    try:
        feed(framer, data)
    except ProtocolError:
        return
    assert len(framer.space()) > 0


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_header_smuggles_a_line_into_a_request(name: str, value: str) -> None:
    """What a camera said may come back to it in a request, as a part of one line only."""
    head = f"RTSP/1.0 200 OK\r\nContent-Base: rtsp://h/{name}\r\nSession: {value}".encode("utf-8", "surrogatepass")
    message = parse_head(head)
    request = format_request("PLAY", message.header("content-base") or "", {"Session": message.header("session") or ""})
    assert request.count(b"\r\n") == 3
    assert request.count(b"\n") == 3


def test_a_folded_header_is_one() -> None:
    """RFC 2326 4.1: a line that begins with a space goes on."""
    assert parse_head(b"RTSP/1.0 200 OK\r\nA: b\r\n c").header("a") == "b c"
