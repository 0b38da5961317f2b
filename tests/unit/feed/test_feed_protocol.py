# SPDX-License-Identifier: AGPL-3.0-or-later
"""Framing: what was packed is unpacked whatever the pieces, and nothing else is taken for a message."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.feed.protocol import (
    FROM_CLIENT,
    FROM_RUN,
    FeedFormatError,
    FeedMessage,
    Limits,
    Unpacker,
    packed,
    packed_header,
)

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.builds(
    lambda kind, more, payload: FeedMessage({**more, "kind": kind}, payload),
    st.text(),
    st.dictionaries(st.text(), PLAIN, max_size=4),
    st.binary(max_size=300),
)


@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_messages_survive_any_pieces(messages: list[FeedMessage], sizes: list[int]) -> None:
    """One byte at a time, or several messages at once."""
    data = b"".join(packed(message.header, message.payload) for message in messages)
    found: list[FeedMessage] = []
    unpacker, at, turn = Unpacker(FROM_RUN), 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += unpacker.push(data[at : at + size])
        at, turn = at + size, turn + 1

    assert found == messages


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for(data: bytes) -> None:
    """Never another error, and never more kept than a message may have."""
    unpacker = Unpacker(Limits(64, 0))
    try:
        for message in unpacker.push(data):
            assert isinstance(message.kind, str)
    except FeedFormatError:
        return
    assert len(unpacker._buffer) <= 8 + 64


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 60_000,
        b'{"kind":' + b"[" * 100 + b"]" * 100 + b"}",
        b"{}",
        b'{"kind":1}',
        b"[]",
        b'{"kind":"want","a":NaN}',
        b"\xff\xfe",
        b'{"kind":"x","n":' + b"9" * 5000 + b"}",
        b"",
    ],
)
def test_what_is_no_header_is_refused(header: bytes) -> None:
    """Deep nesting is no RecursionError, a long number no ValueError of another kind."""
    with pytest.raises(FeedFormatError):
        list(Unpacker(FROM_CLIENT).push(struct.pack(">II", len(header), 0) + header))


def test_too_long_is_refused_before_it_is_read() -> None:
    """By its lengths alone."""
    with pytest.raises(FeedFormatError, match="at most 65536 bytes"):
        list(Unpacker(FROM_CLIENT).push(struct.pack(">II", 1 << 31, 0)))
    with pytest.raises(FeedFormatError, match="payload"):
        list(Unpacker(FROM_CLIENT).push(struct.pack(">II", 2, 1)))


def test_what_json_does_not_have_becomes_null() -> None:
    """A camera's clock may be anything; the rest is as it was."""
    header = {"kind": "x", "list": [math.nan, {"y": -math.inf}], "text": "\ud800é", "n": 1.5}
    (message,) = Unpacker(FROM_RUN).push(packed(header))

    assert message.header == {"kind": "x", "list": [None, {"y": None}], "text": "\ud800é", "n": 1.5}


def test_a_payload_may_be_sent_apart() -> None:
    """So that clients share its bytes."""
    assert packed_header({"kind": "frame"}, 3) + b"abc" == packed({"kind": "frame"}, b"abc")
