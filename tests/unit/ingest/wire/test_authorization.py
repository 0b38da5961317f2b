# SPDX-License-Identifier: AGPL-3.0-or-later
"""Digest and Basic as the RFCs write them, and which of several a camera gets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.ingest.wire.authorization import Credentials, choose_challenge, parse_challenges

NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def rfc7616(algorithm: str) -> str:
    """Return the challenge of RFC 7616 3.9.1."""
    return (
        f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="{NONCE}",'
        f' opaque="{OPAQUE}"'
    )


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, response: str) -> None:
    """Both of 3.9.1, with the same client nonce."""
    (challenge,) = parse_challenges([rfc7616(algorithm)])
    credentials = Credentials("Mufasa", "Circle of Life", lambda: CNONCE)
    header = credentials.answer(challenge, "GET", "/dir/index.html")
    assert f'response="{response}"' in header
    assert f"algorithm={algorithm}, qop=auth, nc=00000001" in header
    assert f'opaque="{OPAQUE}"' in header
    assert "nc=00000002" in credentials.answer(challenge, "GET", "/dir/index.html")


def test_the_example_of_rfc_2069() -> None:
    """Without qop, as most cameras ask (the corrected answer of its errata)."""
    (challenge,) = parse_challenges(['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"'])
    header = Credentials("Mufasa", "CircleOfLife").answer(challenge, "GET", "/dir/index.html")
    assert 'response="1949323746fe6a43ef61f9606e7febea"' in header
    assert "cnonce" not in header
    assert "algorithm" not in header


def test_basic() -> None:
    """RFC 7617 2.1, in UTF-8."""
    (challenge,) = parse_challenges(['Basic realm="foo", charset="UTF-8"'])
    assert Credentials("test", "123£").answer(challenge, "DESCRIBE", "rtsp://h/") == "Basic dGVzdDoxMjPCow=="


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["Basic realm=x", rfc7616("SHA-256"), rfc7616("MD5")], "md5"),
        (["Basic realm=x, " + rfc7616("SHA-256")], "sha-256"),
        (["Basic realm=x"], "basic"),
        ([rfc7616("SHA3-512"), 'Digest realm="x", nonce="y", qop="auth-int"', "Negotiate"], None),
        ([], None),
    ],
)
def test_the_way_in_that_works_is_chosen(offered: list[str], chosen: str | None) -> None:
    """MD5, else SHA-256, else Basic, in whatever order and header they come."""
    challenge = choose_challenge(parse_challenges(offered))
    found = None if challenge is None else challenge.algorithm if challenge.scheme == "digest" else challenge.scheme
    assert found == chosen


def test_quotes_in_a_realm_are_kept_and_written() -> None:
    """And a scheme's name inside them is none."""
    (challenge,) = parse_challenges(['Digest realm="a \\"Basic\\", b=c", nonce="1"'])
    assert challenge.parameters["realm"] == 'a "Basic", b=c'
    assert 'realm="a \\"Basic\\", b=c"' in Credentials("u", "p").answer(challenge, "PLAY", "rtsp://h/")


def test_credentials_are_never_shown() -> None:
    """Not by repr, which ends up in tracebacks."""
    assert "p4ss" not in repr(Credentials("u", "p4ss"))


@given(st.text(max_size=300))
def test_any_challenge_can_be_read_and_answered(text: str) -> None:
    """Whatever a camera writes."""
    challenge = choose_challenge(parse_challenges([text, f"Digest {text}"]))
    if challenge is not None:
        header = Credentials("ü", 'p"\\').answer(challenge, "PLAY", "rtsp://h/")
        assert re.match(r"Basic |Digest ", header)
