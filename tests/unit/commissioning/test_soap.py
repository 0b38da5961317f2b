# SPDX-License-Identifier: AGPL-3.0-or-later
"""What devices answer is read safely, and a token is what WS-Security says."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.commissioning.discovery import read_matches
from vision_line.commissioning.soap import SoapError, descendant, descendants, envelope, parse_answer, username_token

BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">'
    b'<!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;"><!ENTITY z "&y;&y;&y;&y;&y;&y;&y;&y;&y;&y;">]><a>&z;</a>'
)
FILE = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'


@pytest.mark.parametrize("data", [BOMB, FILE, b'<!DOCTYPE a SYSTEM "http://192.0.2.1/a.dtd"><a/>', b"<!DOCTYPE a><a/>"])
def test_a_document_type_is_refused(data: bytes) -> None:
    """And with it every entity: none is expanded, none is fetched."""
    with pytest.raises(SoapError, match="document type"):
        parse_answer(data)


@pytest.mark.parametrize(
    "data", [b"<a>&x;</a>", b"", b"<a>", b"<a/><b/>", b"\xff", b'<?xml version="1.0" encoding="x"?><a/>']
)
def test_what_is_no_xml_is_refused(data: bytes) -> None:
    """An entity that nobody declared is among it."""
    with pytest.raises(SoapError):
        parse_answer(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_tree_or_an_error(data: bytes) -> None:
    """Whatever comes as a datagram."""
    with contextlib.suppress(SoapError):
        parse_answer(data)


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_match_is_read(addresses: str, scopes: str) -> None:
    """What a device says is never asked for elsewhere, and never more than a line."""
    body = f"<ProbeMatch><XAddrs>{escape(addresses)}</XAddrs><Scopes>{escape(scopes)}</Scopes></ProbeMatch>"
    try:
        matches = read_matches(envelope(body.encode(errors="replace").decode()), "10.0.0.21")
    except SoapError:
        return
    ((_, device),) = matches
    assert device.service_url.startswith("http://10.0.0.21:")
    assert len(device.description.splitlines()) <= 1


@pytest.mark.parametrize(
    ("addresses", "service"),
    [
        ("http://10.0.0.21/onvif/device_service", "http://10.0.0.21:80/onvif/device_service"),
        ("http://[fe80::1]/x http://10.0.0.21:8899/y", "http://10.0.0.21:8899/y"),
        ("http://evil.example:81/y", "http://10.0.0.21:81/y"),
        ("https://10.0.0.21/y", "http://10.0.0.21:80/onvif/device_service"),
        ("http://10.0.0.21:99999/y nonsense", "http://10.0.0.21:80/onvif/device_service"),
        ("", "http://10.0.0.21:80/onvif/device_service"),
    ],
)
def test_a_device_is_asked_where_it_answered_from(addresses: str, service: str) -> None:
    """By the port and path that it names for this address, else for another one."""
    body = f"<ProbeMatch><XAddrs>{addresses}</XAddrs></ProbeMatch>"

    ((_, device),) = read_matches(envelope(body), "10.0.0.21")
    assert device.service_url == service


def test_names_are_read_without_their_namespaces() -> None:
    """Devices disagree about the prefixes."""
    tree = parse_answer(b'<x:a xmlns:x="urn:1" xmlns="urn:2"><b t="1"> one </b><x:b>two</x:b></x:a>')

    assert descendant(tree, "a", "b") == "one"
    assert [element.attrib for element in descendants(tree, "b")] == [{"t": "1"}, {}]
    assert descendant(tree, "a", "c") == ""


def test_the_token_is_the_one_of_the_onvif_guide() -> None:
    """The example of the ONVIF application programmer's guide: nonce, time and password give its digest."""
    nonce = base64.b64decode("LKqI6G/AikKCQrN0zqZFlg==")
    header = username_token("us<er", "userpassword", nonce, datetime(2010, 9, 16, 7, 50, 45, tzinfo=UTC))

    tree = parse_answer(envelope("", header))
    assert descendant(tree, "Username") == "us<er"
    assert descendant(tree, "Password") == "tuOSpGlFlIXsozq4HFNeeGeFLEI="
    assert descendant(tree, "Nonce") == "LKqI6G/AikKCQrN0zqZFlg=="
    assert descendant(tree, "Created") == "2010-09-16T07:50:45Z"
