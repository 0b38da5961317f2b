# SPDX-License-Identifier: AGPL-3.0-or-later
"""Anything that openapi.json allows, and much that it does not, is answered: by no fault of ours."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.fakes.desk import ORIGIN, DeskUnderTest, desk_over
from tests.fakes.desk_records import writing
from tests.fakes.desk_routes import DeskRoute, application_of, routes_of

from vision_line import desk as desk_room
from vision_line.desk.users.sessions import Role

PASSWORD = "correct horse battery"  # noqa: S105  nobody's
#: How pydantic begins what it says.
LIBRARY_WORDS = re.compile(r"(?:Input|String|List|Field|Value|JSON) (?:should|required|error|decode)|unable to ")
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
ANY_TEXT = st.text(max_size=30) | st.text(string.printable, max_size=12)
NUMBERS = st.integers(-(2**70), 2**70).map(str) | st.floats().map(str)
TIMES = st.datetimes().map(str) | st.sampled_from(["2026-11-28T06:00", "2026-10-25T02:30:00", "9999-12-31T23:59:59"])
ODD = st.sampled_from(["", "0", "-1", "%00", "..", "../../reviews.sqlite", "' OR 1 --", "\u0000", "é", "nan", "1e309"])
VALUES = ANY_TEXT | NUMBERS | TIMES | ODD
BODIES = st.binary(max_size=200) | VALUES.map(lambda text: text.encode("utf-8", "surrogatepass"))


#: Names of fields that the desk's pages send; a test holds them against the code.
FIELDS = (
    *("name", "password", "new", "again", "do", "role", "event", "case", "note", "back", "target", "why"),
    *("excluded", "reason", "seen", "lot", "lane", "act", "recipe"),
)


def encoded(fields: list[tuple[str, str]]) -> bytes:
    """Return fields as a page sends them."""
    return urlencode(fields, errors="surrogatepass").encode()


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[DeskRoute]:
    """Return all that the desk answers, but WebSockets: pages, forms, files and JSON."""
    with desk_over(tmp_path_factory.mktemp("none")) as desk:
        return [one for one in routes_of(application_of(desk)) if one.method != "WS"]


@pytest.fixture(scope="module")
def desk_of_anna(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskUnderTest]:
    """Yield a desk over such records, where anna, who may do all, is signed in."""
    with desk_over(filled(tmp_path_factory.mktemp("anna"))) as found:
        found.accounts.add("anna", Role.QUALITY, PASSWORD, by="test")
        assert sign_in_anna(found)
        yield found


def sign_in_anna(desk: DeskUnderTest) -> bool:
    """Sign her in again, however often wrong passwords were sent before."""
    desk.clock[0] += 4000.0
    return bool(desk.sign_in_as("anna", PASSWORD).status_code == 303)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskUnderTest]:
    """Yield a desk over records with rows in every table."""
    with desk_over(filled(tmp_path_factory.mktemp("records"))) as found:
        found.sign_in()
        yield found


def filled(directory: Path) -> Path:
    """Fill a record directory with a little of everything, and return it."""
    with writing(directory) as rows:
        run = rows.run(0, 600, "cam", "other")
        rows.minute(run, "cam", 0, 90, missing_s=6.0)
        rows.gap(run, "cam", "camera:stale", 60, 70)
        rows.state(run, "cam", "stale", 60, "TIMEOUT", "nothing came")
        event = rows.event(run, "cam", 30)
        rows.images(event, b"image")
        rows.clip(run, "cam", event, b"clip")
        rows.near_miss(run, "cam", 40, b"image")
        rows.audit(run, "cam", 50, b"image")
    return directory


def test_every_route_is_tried(routes: list[DeskRoute]) -> None:
    """Or nothing would be tried below: with its own names, and those of the fields that the code asks a form for."""
    assert len(routes) > 70
    assert any(one.asked for one in routes)
    assert any(one.keys for one in routes)
    code = "".join(path.read_text(encoding="utf-8") for path in Path(desk_room.__file__).parent.rglob("*.py"))
    assert set(re.findall(r'\b(?:sent|fields)\.get(?:list)?\("(\w+)"', code)) == set(FIELDS)


def address_of(data: st.DataObject, route: DeskRoute) -> str:
    """Return an address of a route, with odd values of its parameters, perhaps twice, and of others."""
    path, query = route.path, []
    for name in re.findall(r"\{(\w+)\}", path):
        value = data.draw(st.sampled_from(("1", "cam", "start", "image")) | VALUES)
        path = path.replace(f"{{{name}}}", quote(value, safe="", errors="surrogatepass"))
    for name in route.asked:
        query += [(name, data.draw(VALUES))] * data.draw(st.sampled_from((0, 0, 1, 2)))
    query += data.draw(st.lists(st.tuples(ANY_TEXT, VALUES), max_size=1))
    return path + "?" + "&".join(f"{quote(k, errors='ignore')}={quote(v, errors='ignore')}" for k, v in query)


@settings(max_examples=90, deadline=None, suppress_health_check=CHECKS)
@given(data=st.data())
def test_whatever_is_asked_is_answered(desk: DeskUnderTest, routes: list[DeskRoute], data: st.DataObject) -> None:
    """With odd values of the parameters that there are, of others, twice, and by the wrong method."""
    route = data.draw(st.sampled_from(routes))
    method = data.draw(st.sampled_from((route.method, route.method, "GET", "HEAD", "POST", "DELETE")))
    address = address_of(data, route)
    answer = desk.client.request(method, address, headers=ORIGIN, follow_redirects=False)
    assert is_no_fault(answer.status_code, answer.text), (method, address, answer.text)
    if route.path.startswith("/api/") and answer.is_client_error and method != "HEAD":
        assert set(answer.json()) == {"error"}  # as openapi.json says
        assert not LIBRARY_WORDS.search(answer.json()["error"]), address
    if route.path in {"/enter", "/leave"}:
        desk.sign_in()  # or all that follows would be refused


def is_no_fault(status: int, said: str) -> bool:
    """Whether it was answered; that nothing runs which could be asked is said, and no fault of ours."""
    return status < 500 or (status == 503 and "fault of the desk" not in said)


def sent_bodies(route: DeskRoute) -> st.SearchStrategy[tuple[str, bytes]]:
    """Return content types and bodies: most as a page or a program sends them, but for what is in them."""
    odd: st.SearchStrategy[Any] = VALUES | st.none() | st.booleans() | st.floats() | st.integers(-(2**70), 2**70)
    odd |= st.lists(odd, max_size=2) | st.just("\ud800")
    keys = dict.fromkeys(route.keys or FIELDS, odd)
    documents = st.fixed_dictionaries({}, optional=keys).map(lambda sent: json.dumps(sent).encode())
    fields = st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), max_size=6).map(encoded)
    own = st.tuples(st.just("application/json"), documents)
    if route.keys is None:
        own = st.tuples(st.just("application/x-www-form-urlencoded"), fields)
    return own | st.tuples(st.sampled_from(("application/json", "application/x-www-form-urlencoded")), BODIES)


@settings(max_examples=80, deadline=None, suppress_health_check=CHECKS)
@given(data=st.data())
def test_whatever_is_sent_is_answered(
    desk_of_anna: DeskUnderTest, routes: list[DeskRoute], data: st.DataObject
) -> None:
    """By everything that takes something, from somebody who may do all."""
    route = data.draw(st.sampled_from([one for one in routes if one.method == "POST"]))
    kind, body = data.draw(sent_bodies(route))
    address = address_of(data, route)
    headers = {**ORIGIN, "Content-Type": kind}
    answer = desk_of_anna.client.post(address, content=body, headers=headers, follow_redirects=False)
    assert is_no_fault(answer.status_code, answer.text), (address, kind, body, answer.text)
    if answer.status_code == 401 or route.path in {"/enter", "/leave"}:
        assert sign_in_anna(desk_of_anna)  # what was sent may have ended her session


def reviewed() -> st.SearchStrategy[dict[str, Any]]:
    """Return answers, most of them as a page would send them, but for a value or two."""
    odd: st.SearchStrategy[Any] = VALUES | st.none() | st.floats() | st.integers() | st.lists(st.integers(), max_size=2)
    numbers: st.SearchStrategy[Any] = st.floats(-10, 700) | odd
    box = st.fixed_dictionaries({"class": st.just("open") | odd, **dict.fromkeys(("x1", "y1", "x2", "y2"), numbers)})
    keys = ["event/run at 0/event 1", "near_miss/run at 0/near miss 1", "audit/run at 0/cam/101", "audit/x/cam/9e9"]
    fields: dict[str, st.SearchStrategy[Any]] = {
        "item": st.sampled_from(keys) | VALUES,
        "verdict": st.sampled_from(["confirmed", "overruled", "unsure"]) | odd,
    }
    more: dict[str, st.SearchStrategy[Any]] = {
        "class": st.sampled_from(["open", "short", None]) | odd,
        "boxes": st.none() | st.lists(box, max_size=3) | odd,
        "note": VALUES | odd,
        "took_s": st.floats(0, 100) | odd,
        "submission": VALUES | odd,
        "more": odd,
    }
    return st.fixed_dictionaries(fields, optional=more)


@settings(max_examples=60, deadline=None, suppress_health_check=CHECKS)
@given(body=reviewed().map(lambda sent: json.dumps(sent).encode()) | BODIES, number=st.integers(-5, 2**70))
def test_whatever_is_answered_in_a_review_is_no_fault(desk: DeskUnderTest, body: bytes, number: int) -> None:
    """Lone halves of UTF-16 pairs, numbers that are none, boxes that are none; and taking back what is not there."""
    headers = {**ORIGIN, "Content-Type": "application/json"}
    answer = desk.client.post("/api/v1/review/answers", content=body, headers=headers)
    assert answer.status_code < 500, (body, answer.text)
    back = desk.client.post(f"/api/v1/review/answers/{number}/withdraw", headers=headers)
    assert back.status_code < 500, (number, back.text)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(cookie=st.binary(max_size=60), host=st.binary(max_size=30), origin=st.binary(max_size=30))
def test_whatever_headers_come_are_answered(desk: DeskUnderTest, cookie: bytes, host: bytes, origin: bytes) -> None:
    """Bytes that are no text as well."""
    client = TestClient(desk.application, str(desk.client.base_url))
    odd = [(b"Cookie", b"vision_line_desk_8080=" + cookie), (b"Origin", origin), (b"X-Forwarded-User", host)]
    for headers in ([*odd, (b"Host", host)], odd):
        for method in ("GET", "POST"):
            assert client.request(method, "/account", headers=headers).status_code in {401, 403}
