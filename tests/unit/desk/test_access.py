# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who reaches what: roles of all routes, cookies over TLS, a proxy that says who asks, and open WebSockets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from fastapi import WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from tests.fakes.desk import ADDRESS, ORIGIN, DeskUnderTest, desk_over
from tests.fakes.desk_routes import application_of, routes_of

from vision_line.config.listen import ListenAddress
from vision_line.desk.access import SECRET_HEADER, USER_HEADER, Access, TrustedProxy
from vision_line.desk.services import NotAllowedError, NotSignedInError, require
from vision_line.desk.users.sessions import IDLE_S, Role

PASSWORD = "correct horse battery"  # noqa: S105 - nobody's
SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - nobody's
#: All that needs no session: the way in, the way out, and what pages load.
PUBLIC = {("/enter", "GET"), ("/enter", "POST"), ("/leave", "POST"), ("/static/{name}", "GET")}
#: What a program asks for by a token of its own.
PUBLIC |= {("/fleet/files/{digest}", "GET")}
#: What needs more than to be signed in.
REVIEWS = "/api/v1/review/answers"
QUALITY = (("/accounts", "GET"), ("/accounts", "POST"), ("/charts/baseline", "GET"), ("/charts/baseline", "POST"))
MORE = {
    **dict.fromkeys((*QUALITY, ("/charts/baseline/withdraw", "POST")), Role.QUALITY),
    **{(path, "POST"): Role.REVIEWER for path in (REVIEWS, f"{REVIEWS}/{{number}}/withdraw", "/challenges/{act}")},
    **{
        (f"/cases{path}", "POST"): Role.REVIEWER
        for path in ("", "/all", *(f"/{{number}}/{change}" for change in ("remove", "describe", "close", "reopen")))
    },
}
MORE |= {("/challenges/{act}", "POST"): Role.REVIEWER, ("/charts/baseline", "GET"): Role.QUALITY}
MORE |= {(f"/charts/baseline{path}", "POST"): Role.QUALITY for path in ("", "/withdraw")}
MORE |= {(path, "POST"): Role.QUALITY for path in ("/lots", "/api/v1/lots", "/cameras/recipe", "/api/v1/recipe")}
MORE[("/api/v1/parts", "POST")] = Role.QUALITY
MORE |= {(f"/charts/parts/baseline{path}", "POST"): Role.QUALITY for path in ("", "/withdraw")}
MORE[("/charts/parts/baseline", "GET")] = Role.QUALITY


def test_every_route_asks_for_a_role_or_is_on_the_short_list(records: Path) -> None:
    """A new route without one fails here."""
    with desk_over(records) as desk:
        found = {(one.path, one.method): one.roles for one in routes_of(application_of(desk))}
    assert len(found) > 15
    assert {route for route, roles in found.items() if not roles} == PUBLIC
    highest = {route: max(roles, key=list(Role).index) for route, roles in found.items() if roles}
    assert {route: role for route, role in highest.items() if role is not Role.READER} == MORE


def test_the_list_of_routes_sees_one_without_a_role(records: Path) -> None:
    """The test above can fail."""
    with desk_over(records) as desk:
        application_of(desk).add_api_route("/open", lambda: None)
        assert [one.roles for one in routes_of(application_of(desk)) if one.path == "/open"] == [[]]


def test_roles_are_asked_before_anything_else(records: Path) -> None:
    """Who is not signed in learns nothing by what is wrong with a request."""
    with desk_over(records) as desk:
        for path, method in ((one.path, one.method) for one in routes_of(application_of(desk))):
            if (path, method) in PUBLIC:
                continue
            address = re.sub(r"[{}]", "", path)
            if method == "WS":
                with pytest.raises(WebSocketDenialResponse) as denied, opened(desk, address):
                    pass
                assert denied.value.status_code == 401, path
            else:
                answer = desk.client.request(method, address, headers=ORIGIN)
                assert answer.status_code == 401, (path, method)


def opened(desk: DeskUnderTest, path: str, headers: dict[str, str] = ORIGIN) -> WebSocketTestSession:
    """Open a WebSocket as a page of the desk does."""
    return desk.client.websocket_connect(f"ws://{ADDRESS}{path}", headers=headers)


def test_every_websocket_refuses_pages_from_elsewhere(desk: DeskUnderTest) -> None:
    """Also for who is signed in: a browser sends the cookie whoever's page asks."""
    found = [one.path for one in routes_of(application_of(desk)) if one.method == "WS"]
    assert len(found) >= 2
    for path in found:
        for headers in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            with pytest.raises(WebSocketDisconnect), opened(desk, path, headers):
                pass


@pytest.mark.parametrize(("role", "status"), [(Role.READER, 403), (Role.REVIEWER, 403), (Role.QUALITY, 200)])
def test_users_are_shown_to_quality_alone(records: Path, role: Role, status: int) -> None:
    with desk_over(records) as desk:
        desk.accounts.add("anna", role, PASSWORD, by="test")
        desk.sign_in_as("anna", PASSWORD)
        assert desk.client.get("/accounts").status_code == status
        assert ("/accounts" in desk.client.get("/account").text) == (status == 200)


def test_over_tls_the_cookie_is_for_this_host_alone(records: Path) -> None:
    with desk_over(records, access=Access(ADDRESS, is_tls=True)) as desk:
        desk.accounts.add("anna", Role.QUALITY, PASSWORD, by="test")
        answer = desk.sign_in_as("anna", PASSWORD)
        name, _, rest = answer.headers["set-cookie"].partition("=")
        assert name == "__Host-vision_line_desk_8080"
        assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/"} <= set(rest.split("; "))
        assert "Domain" not in rest
        assert desk.client.get("/account").status_code == 200
        assert desk.client.post("/leave", headers=ORIGIN).status_code == 403  # a page that somebody put under http
        left = desk.client.post("/leave", headers={"Origin": f"https://{ADDRESS}"}, follow_redirects=False)
        assert {"Secure", "Max-Age=0"} <= set(left.headers["set-cookie"].split("; "))


def test_names_of_an_address() -> None:
    """As browsers write them: without the port that is usual."""
    wide = Access(ListenAddress("192.0.2.1", 443), ("Desk.plant.example",), is_tls=True)
    assert {"192.0.2.1", "desk.plant.example", "desk.plant.example:443"} <= wide.hosts()
    assert "evil.example" not in wide.hosts()


def proxied(*networks: str) -> Access:
    """Return an access through a proxy in these networks."""
    return Access(ADDRESS, proxy=TrustedProxy(tuple(map(ip_network, networks)), SECRET.encode()))


@pytest.fixture
def behind(records: Path) -> Iterator[DeskUnderTest]:
    """Yield a desk that believes clients of 192.0.2.0/24, where the client of the tests is."""
    with desk_over(records, access=proxied("198.51.100.0/24", "192.0.2.0/24")) as desk:
        desk.accounts.add("anna@plant.example", Role.QUALITY, None, by="test")
        desk.accounts.add("vera", Role.READER, PASSWORD, by="test")
        yield desk


def test_the_proxy_says_who_asks(behind: DeskUnderTest) -> None:
    """Each request anew; the role is that of the user here."""
    for name, status in (("Anna@plant.example", 200), ("vera", 403), ("nobody", 403)):
        headers = {USER_HEADER: name, SECRET_HEADER: SECRET}
        assert behind.client.get("/accounts", headers=headers).status_code == status
    assert behind.client.get("/accounts").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        [(USER_HEADER, "anna@plant.example")],
        [(USER_HEADER, "anna@plant.example"), (SECRET_HEADER, "")],
        [(USER_HEADER, "anna@plant.example"), (SECRET_HEADER, SECRET[:-1])],
        [(USER_HEADER, "anna@plant.example"), (SECRET_HEADER, "\xff" * 32)],
        [(USER_HEADER, "anna@plant.example"), (SECRET_HEADER, "guess"), (SECRET_HEADER, SECRET)],
        [(USER_HEADER, "vera"), (USER_HEADER, "anna@plant.example"), (SECRET_HEADER, SECRET)],
        [(USER_HEADER, ""), (SECRET_HEADER, SECRET)],
    ],
)
def test_nobody_else_is_believed(behind: DeskUnderTest, headers: list[tuple[str, str]]) -> None:
    """Without the secret, with a guess, or with two names, of which the client may have sent one."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    assert behind.client.get("/account", headers=raw).status_code == 401


def test_another_network_is_not_believed(records: Path) -> None:
    """Also not with the secret."""
    with desk_over(records, access=proxied("198.51.100.0/24", "2001:db8::/32")) as desk:
        desk.accounts.add("anna", Role.QUALITY, None, by="test")
        headers = {USER_HEADER: "anna", SECRET_HEADER: SECRET}
        assert desk.client.get("/account", headers=headers).status_code == 401
        for host, status in (("::ffff:198.51.100.9", 200), ("2001:db8::5", 200), ("::1", 401), ("nonsense", 401)):
            client = TestClient(desk.application, f"http://{ADDRESS}", client=(host, 1))
            assert client.get("/account", headers=headers).status_code == status, host


def test_behind_a_proxy_neither_passwords_nor_links_open_anything(behind: DeskUnderTest) -> None:
    """There is one way in."""
    assert behind.sign_in_as("vera", PASSWORD).status_code == 401
    link = behind.sessions.new_link()
    assert behind.client.get("/enter", params={"token": link}).status_code == 401
    asked = behind.client.get("/")
    assert "sign-on" in asked.text
    assert "password" not in asked.text


def test_without_a_proxy_its_headers_mean_nothing(records: Path) -> None:
    with desk_over(records) as desk:
        desk.accounts.add("anna", Role.QUALITY, PASSWORD, by="test")
        assert desk.client.get("/account", headers={USER_HEADER: "anna", SECRET_HEADER: ""}).status_code == 401


def test_the_secret_is_in_no_repr() -> None:
    assert SECRET not in repr(proxied("192.0.2.0/24"))


def exchanged(socket: WebSocketTestSession) -> str:
    """Ask for a message, and return it."""
    socket.send_text("more")
    return socket.receive_text()


def test_a_websocket_ends_with_the_right_to_it(records: Path) -> None:
    """Each message is asked for anew, and being sent something is no use of the session."""
    needs = require(Role.REVIEWER)
    with desk_over(records) as desk:

        async def live(socket: WebSocket) -> None:
            await socket.accept()
            while await socket.receive_text():
                try:
                    await socket.send_text(needs.still_met(socket).user)
                except (NotSignedInError, NotAllowedError) as exc:
                    await socket.close(1008, str(exc))
                    return

        application_of(desk).add_api_websocket_route("/live", live)
        for name in ("rita", "rosa", "ruth"):
            desk.accounts.add(name, Role.REVIEWER, PASSWORD, by="test")

        def lose_role(name: str) -> None:
            desk.accounts.set_role(name, Role.READER, by="test")

        def be_removed(name: str) -> None:
            desk.accounts.remove(name, by="test")

        def go_idle(_name: str) -> None:
            desk.clock[0] += IDLE_S / 2

        for name, end in (("rita", lose_role), ("rosa", be_removed), ("ruth", go_idle)):
            desk.client.cookies.clear()
            desk.sign_in_as(name, PASSWORD)
            with desk.client.websocket_connect(f"ws://{ADDRESS}/live", headers=ORIGIN) as socket:
                assert exchanged(socket) == name
                end(name)
                if end is go_idle:  # listening goes on, and is no use of the session
                    assert exchanged(socket) == name
                    end(name)
                with pytest.raises(WebSocketDisconnect):
                    exchanged(socket)
