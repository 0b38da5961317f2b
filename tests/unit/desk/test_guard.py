# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds for every request to the desk: host, origin, session, headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from tests.fakes.desk import ORIGIN, DeskUnderTest, desk_over

from vision_line.config.listen import ListenAddress
from vision_line.desk.guard import Guard, allowed_hosts

#: What needs no session.
#: Files by their hash are for who knows the token of the plant's central desk.
OPEN = {"/enter", "/leave", "/static/{name}", "/fleet/files/{digest}"}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:8081", "127.0.0.1:8080.evil.example", ""])
def test_another_host_is_refused(client: TestClient, host: str) -> None:
    """A name that somebody has lead here (DNS rebinding) gets nothing, with the cookie or without."""
    assert client.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080"])
def test_names_of_this_machine_are_served(client: TestClient, host: str) -> None:
    assert client.get("/openapi.json", headers={"Host": host}).status_code != 403


def test_names_of_an_ipv6_address_and_of_port_80() -> None:
    """Browsers leave port 80 out."""
    assert "[::1]:9000" in allowed_hosts(ListenAddress("::1", 9000))
    assert allowed_hosts(ListenAddress("127.0.0.1", 80)) >= {"127.0.0.1", "localhost", "127.0.0.1:80"}


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://localhost:8080", "http://127.0.0.1"])
def test_a_change_from_another_page_is_refused(desk: DeskUnderTest, origin: str | None) -> None:
    """`Origin` must be the very host that is asked: other ports are other programs."""
    headers = {} if origin is None else {"Origin": origin}
    assert desk.client.post("/leave", headers=headers).status_code == 403
    assert desk.client.get("/openapi.json").status_code == 200  # still signed in


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_form_whose_origin_is_hidden_must_be_of_this_origin(desk: DeskUnderTest, site: str) -> None:
    headers = {"Origin": "null", "Sec-Fetch-Site": site}
    assert desk.client.post("/leave", headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [ORIGIN, {"Origin": "null", "Sec-Fetch-Site": "same-origin"}])
def test_signing_out_from_a_page_of_ours(desk: DeskUnderTest, headers: dict[str, str]) -> None:
    assert desk.client.post("/leave", headers=headers, follow_redirects=False).status_code == 303
    assert desk.client.get("/openapi.json").status_code == 401


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}, {**ORIGIN, "Host": "evil.example"}])
def test_a_websocket_from_another_page_is_refused(headers: dict[str, str]) -> None:
    """Browsers let any page open one to anywhere."""
    with pytest.raises(WebSocketDisconnect), websocket_client().websocket_connect("/live", headers=headers):
        pass


def test_a_websocket_from_a_page_of_ours_is_served() -> None:
    with websocket_client().websocket_connect("/live", headers={"Host": "127.0.0.1:8080", **ORIGIN}) as socket:
        assert socket.receive_text() == "hello"


def websocket_client() -> TestClient:
    """Return a client of an application with one WebSocket behind the guard."""

    async def greet(scope: object, receive: object, send: object) -> None:
        socket = WebSocket(scope, receive, send)  # type: ignore[arg-type]
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    return TestClient(Guard(greet, allowed_hosts(ListenAddress("127.0.0.1", 8080))), base_url="http://127.0.0.1:8080")


@pytest.mark.parametrize("path", ["/", "/enter", "/nowhere", "/openapi.json"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    """Also errors."""
    headers = client.get(path).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
        " connect-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_refusals_have_the_headers_too(client: TestClient) -> None:
    assert "content-security-policy" in client.get("/", headers={"Host": "evil.example"}).headers


def test_a_fault_of_ours_has_the_headers_too(desk: DeskUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says nothing of its inside."""
    monkeypatch.setattr("vision_line.desk.record_reader.RecordReader.open", lambda _self: 1 / 0)
    answer = desk.client.get("/")
    assert answer.status_code == 500
    assert "content-security-policy" in answer.headers
    assert "ZeroDivision" not in answer.text


def paths(application: FastAPI) -> Iterator[str]:
    """Yield the path of every route."""
    for route in application.routes:
        for one in getattr(route, "original_router", application).routes:
            assert isinstance(one, Route | WebSocketRoute), one
            if isinstance(one, Route):  # those are asked, WebSockets are opened in test_access
                yield one.path


def test_nothing_is_served_without_a_session(records: Path) -> None:
    """But the way in, and what pages load."""
    with desk_over(records) as desk:
        application = desk.application.app
        assert isinstance(application, FastAPI)
        closed = set(paths(application)) - OPEN
        assert {"/", "/openapi.json"} <= closed
        for path in closed:
            address = path.replace("{", "").replace("}", "")
            answers = {desk.client.request(method, address, headers=ORIGIN).status_code for method in ("GET", "POST")}
            assert answers & {400, 401}, path
            assert answers <= {400, 401, 405}, path
        assert desk.client.get("/").status_code == 401


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(desk: DeskUnderTest) -> None:
    answer = desk.client.get("/enter", params={"token": desk.sessions.new_link()}, follow_redirects=False)
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert name == "vision_line_desk_8080"
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(rest.split("; "))


def test_a_used_link_opens_nothing_and_a_new_one_is_printed(records: Path) -> None:
    with desk_over(records) as desk:
        link = desk.sessions.new_link()
        assert desk.client.get("/enter", params={"token": link}, follow_redirects=False).status_code == 303
        assert len(desk.links) == 1
        desk.client.cookies.clear()
        assert desk.client.get("/enter", params={"token": link}).status_code == 401
        assert desk.client.get("/enter", params={"token": desk.links[0]}, follow_redirects=False).status_code == 303


def test_there_are_no_pages_that_load_from_elsewhere(client: TestClient) -> None:
    """FastAPI's own documentation loads scripts from a CDN."""
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    assert client.get("/openapi.json").json()["info"]["title"] == "vision-line desk"
