# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP requests are parsed as RFC 2326 writes them; what is none is refused."""

from __future__ import annotations

import pytest

from vision_line.simulator.rtsp_server import RequestError, camera_name, parse_request, port_pair


def test_header_names_are_found_in_any_case() -> None:
    """Headers are trimmed and their names lowered."""
    request = parse_request(b"SETUP rtsp://h/cam01/track1 RTSP/1.0\r\nCSeq: 3\r\nTRANSPORT:  RTP/AVP \r\n\r\n")

    assert (request.method, request.url) == ("SETUP", "rtsp://h/cam01/track1")
    assert request.headers == {"cseq": "3", "transport": "RTP/AVP"}


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"\xff\xfe PLAY\r\n\r\n"])
def test_another_protocol_is_refused(head: bytes) -> None:
    """The connection is given up instead of guessing."""
    with pytest.raises(RequestError):
        parse_request(head)


@pytest.mark.parametrize(
    ("url", "name"),
    [("rtsp://h:1/cam01", "cam01"), ("rtsp://u:p@h/cam02/track1?x=1", "cam02"), ("*", "*"), ("rtsp://h", "")],
)
def test_a_url_names_its_camera(url: str, name: str) -> None:
    """The track and the query do not matter."""
    assert camera_name(url) == name


@pytest.mark.parametrize(
    ("transport", "pair"),
    [
        ("RTP/AVP;unicast;client_port=5000-5001", (5000, 5001)),
        ("RTP/AVP;unicast;Client_Port=5000", (5000, 5001)),
        ("RTP/AVP;unicast", None),
        ("RTP/AVP;client_port=x-y", None),
    ],
)
def test_ports_are_found_in_the_transport(transport: str, pair: tuple[int, int] | None) -> None:
    """One port stands for itself and the next."""
    assert port_pair(transport, "client_port") == pair
