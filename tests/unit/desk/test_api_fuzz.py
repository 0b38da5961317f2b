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

from vision_line.desk.users.sessions import Role

#: How pydantic begins what it says.
LIBRARY_WORDS = re.compile(r"(?:Input|String|List|Field|Value|JSON) (?:should|required|error|decode)|unable to ")
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
ANY_TEXT = st.text(max_size=30) | st.text(string.printable, max_size=12)
NUMBERS = st.integers(-(2**70), 2**70).map(str) | st.floats().map(str)
TIMES = st.datetimes().map(str) | st.sampled_from(["2026-11-28T06:00", "2026-10-25T02:30:00", "9999-12-31T23:59:59"])
ODD = st.sampled_from(["", "0", "-1", "%00", "..", "../../reviews.sqlite", "' OR 1 --", "\u0000", "é", "nan", "1e309"])
VALUES = ANY_TEXT | NUMBERS | TIMES | ODD
BODIES = st.binary(max_size=200) | VALUES.map(lambda text: text.encode("utf-8", "surrogatepass"))


#: All that takes a form, with the names of their fields.
SENT_TO = (
    *("/enter", "/account", "/leave", "/accounts", "/cases", "/cases/all?camera=x", "/cases/1/remove", "/report/check"),
    *("/cases/1/describe", "/cases/1/close", "/cases/1/reopen", "/cases/1/check"),
    *("/charts/baseline", "/charts/baseline/withdraw"),
)
FIELDS = ("name", "password", "new", "again", "do", "role", "event", "case", "note", "back")


def encoded(fields: list[tuple[str, str]]) -> bytes:
    """Return fields as a page sends them."""
    return urlencode(fields, errors="surrogatepass").encode()


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, list[str]]]:
    """Return path and parameters of each operation that the desk describes."""
    with desk_over(tmp_path_factory.mktemp("none")) as desk:
        desk.sign_in()
        described: dict[str, Any] = desk.client.get("/openapi.json").json()
    return [
        (path, [parameter["name"] for parameter in operation.get("parameters", ())])
        for path, methods in described["paths"].items()
        for operation in methods.values()
    ]


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


def test_the_description_is_of_operations(operations: list[tuple[str, list[str]]]) -> None:
    """Or nothing would be tried below."""
    assert len(operations) >= 6
    assert any("{" in path for path, _ in operations)
    assert any(parameters for _, parameters in operations)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_whatever_is_asked_is_answered(
    desk: DeskUnderTest, operations: list[tuple[str, list[str]]], data: st.DataObject
) -> None:
    """With odd values of the parameters that there are, of others, twice, and by the wrong method."""
    path, parameters = data.draw(st.sampled_from(operations))
    query = []
    for name in parameters:
        value = data.draw(VALUES)
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", quote(value, safe="", errors="surrogatepass"))
        else:
            query += [(name, value)] * data.draw(st.sampled_from((0, 1, 1, 2)))
    query += data.draw(st.lists(st.tuples(ANY_TEXT, VALUES), max_size=1))
    method = data.draw(st.sampled_from(("GET", "GET", "GET", "HEAD", "POST", "DELETE")))
    address = path + "?" + "&".join(f"{quote(k, errors='ignore')}={quote(v, errors='ignore')}" for k, v in query)
    answer = desk.client.request(method, address, headers=ORIGIN, follow_redirects=False)
    assert answer.status_code < 500, (method, address, answer.text)
    if path.startswith("/api/") and answer.is_client_error and method != "HEAD":
        assert set(answer.json()) == {"error"}  # as openapi.json says
        assert not LIBRARY_WORDS.search(answer.json()["error"]), address


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    path=st.sampled_from(SENT_TO),
    body=BODIES | st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), max_size=6).map(encoded),
)
def test_whatever_is_sent_is_answered(records: Path, path: str, body: bytes) -> None:
    """By pages that take fields, also from somebody who is not signed in."""
    with desk_over(records) as desk:
        if not desk.accounts.exist():
            desk.accounts.add("anna", Role.QUALITY, "correct horse battery", by="test")
        desk.sign_in_as("anna", "correct horse battery")
        headers = {**ORIGIN, "Content-Type": "application/x-www-form-urlencoded"}
        answer = desk.client.post(path, content=body, headers=headers, follow_redirects=False)
        assert answer.status_code < 500, (path, body, answer.text)


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
