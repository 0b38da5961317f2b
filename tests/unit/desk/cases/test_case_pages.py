# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages of cases: selecting, changing, and getting the archive; and who may."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk import ORIGIN, DeskUnderTest, desk_over
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.cases.record_check import FRESH_S, CheckedRecord, CheckState
from vision_line.desk.users.sessions import Role
from vision_line.reviews.cases import MOST_EVENTS, Case, Cases

PASSWORD = "correct horse battery"  # noqa: S105 - nobody's


def post(client: TestClient, path: str, **fields: Any) -> Any:
    """Send what a page's form sends."""
    return client.post(path, data=fields, headers=ORIGIN, follow_redirects=False)


def only(records: Path) -> Case:
    """Return the only case."""
    (case,) = Cases(records).all()
    return case


@pytest.fixture
def filled(rows: DeskRecords) -> DeskRecords:
    """Return records of four events, of which one is of another camera."""
    run = rows.run(0, 600, "cam01", "cam02")
    for at_s in (10, 20, 30):
        rows.images(rows.event(run, "cam01", at_s), b"jpeg")
    rows.event(run, "cam02", 40)
    return rows


@pytest.fixture
def by_role(records: Path) -> Iterator[DeskUnderTest]:
    """Yield a desk with a user of each role; nobody is signed in."""
    with desk_over(records) as found:
        for name, role in (("vera", Role.READER), ("rita", Role.REVIEWER)):
            found.accounts.add(name, role, PASSWORD, by="test")
        yield found


def test_selected_events_make_a_case(filled: DeskRecords, client: TestClient) -> None:
    """And more can be put in it later."""
    answer = post(client, "/cases", event=["3", "1"], case="", name="Claim 7")
    assert (answer.status_code, answer.headers["location"]) == (303, "/cases/1")
    case = only(filled.directory)
    assert (case.name, case.by, [event.event_id for event in case.events]) == (
        "Claim 7",
        "owner",
        ["event 1", "event 3"],
    )
    assert post(client, "/cases", event=["2", "3"], case="1").status_code == 303
    assert len(only(filled.directory).events) == 3
    shown = client.get("/cases/1").text
    assert "Claim 7" in shown
    assert shown.count('class="tile"') == 3
    assert "Claim 7" in client.get("/cases").text
    assert "1: Claim 7" in client.get("/events").text


def test_all_that_a_filter_finds(filled: DeskRecords, client: TestClient) -> None:
    assert post(client, "/cases/all?camera=cam01", case="", name="all").status_code == 303
    assert len(only(filled.directory).events) == 3
    nothing = post(client, "/cases/all?camera=cam01&verdict=accept", case="1")
    assert nothing.status_code == 400
    assert "the filter finds no event" in nothing.text


def test_a_filter_that_finds_too_many_is_refused(rows: DeskRecords, client: TestClient) -> None:
    """Nothing of it is in a case then: a part would look like all."""
    run = rows.run(0, 6000, "cam01")
    for at_s in range(MOST_EVENTS + 1):
        rows.event(run, "cam01", at_s)
    answer = post(client, "/cases/all?", case="", name="all")
    assert answer.status_code == 400
    assert "more than the 500 events" in answer.text
    assert Cases(rows.directory).all() == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"case": "", "name": "x"}, "select one event"),
        ({"case": "", "name": "", "event": "1"}, "a name of the case"),
        ({"case": "7", "event": "1"}, "there is no case 7"),
        ({"case": "", "name": "x", "event": "99"}, "not in these records any more"),
        ({"case": "", "name": "x", "event": ["1", "²"]}, "expected the numbers of events"),
        ({"case": "", "name": "x", "event": "9" * 30}, "expected the numbers of events"),
    ],
)
def test_what_cannot_be_put_in_a_case(
    filled: DeskRecords, client: TestClient, fields: dict[str, Any], says: str
) -> None:
    answer = post(client, "/cases", **fields)
    assert answer.status_code == 400
    assert says in answer.text
    assert Cases(filled.directory).all() == []


def test_a_case_is_changed_closed_and_reopened(filled: DeskRecords, client: TestClient) -> None:
    post(client, "/cases", event=["1", "2"], name="one")
    case = only(filled.directory)
    key = f"{case.events[0].run_id}/{case.events[0].event_id}"
    assert post(client, "/cases/1/remove", event=[key, "none", "/"]).status_code == 303
    assert post(client, "/cases/1/describe", name="two", note="why").status_code == 303
    assert post(client, "/cases/1/close").status_code == 303
    assert post(client, "/cases", event="3", case="1").status_code == 400
    assert "Reopen" in client.get("/cases/1").text
    assert post(client, "/cases/1/reopen").status_code == 303
    shown = client.get("/cases/1").text
    for said in ("made with 2 events", "1 event taken out", "before: one", "closed", "reopened", "why"):
        assert said in shown
    found = client.get("/api/v1/cases/1").json()
    assert (found["case"]["name"], len(found["case"]["events"]), len(found["rows"])) == ("two", 1, 1)
    assert client.get("/api/v1/cases").json()[0]["events"] == 1


def test_an_event_whose_row_is_gone_is_shown_as_gone(filled: DeskRecords, client: TestClient) -> None:
    post(client, "/cases", event=["1", "2"], name="one")
    filled.connection.execute("DELETE FROM evidence WHERE event_id = 'event 1'")
    filled.connection.execute("DELETE FROM events WHERE event = 1")
    assert "its row was removed from the records" in client.get("/cases/1").text
    assert client.get("/api/v1/cases/1").json()["rows"][0] is None


def test_who_may_not_review_changes_nothing(filled: DeskRecords, by_role: DeskUnderTest) -> None:
    """And may have the archive: it holds what they may see."""
    client = by_role.client
    by_role.sign_in_as("rita", PASSWORD)
    assert post(client, "/cases", event="1", name="one").status_code == 303
    assert only(filled.directory).by == "rita"
    client.cookies.clear()
    by_role.sign_in_as("vera", PASSWORD)
    for path in ("/cases", "/cases/all?", "/cases/1/remove", "/cases/1/describe", "/cases/1/close", "/cases/1/reopen"):
        assert post(client, path, event="1", name="two").status_code == 403
    assert 'name="event"' not in client.get("/events").text
    assert "Close" not in client.get("/cases/1").text
    assert post(client, "/cases/1/check").status_code == 303


@pytest.mark.parametrize("path", ["/cases", "/cases/all?", "/cases/1/close", "/cases/1/check"])
def test_other_pages_cannot_change_ours(filled: DeskRecords, client: TestClient, path: str) -> None:
    post(client, "/cases", event="1", name="one")
    assert (
        client.post(path, data={"event": "2", "case": "1"}, headers={"Origin": "http://evil.example"}).status_code
        == 403
    )
    assert len(only(filled.directory).entries) == 1


def checked_page(client: TestClient) -> str:
    """Return the page of the export once the check is over."""
    deadline_s = time.monotonic() + 30
    while "being checked" in (shown := client.get("/cases/1/export").text):
        assert time.monotonic() < deadline_s
    return shown


def test_the_archive_comes_after_the_check(filled: DeskRecords, client: TestClient) -> None:
    """Before it, the way to it is shown; what it found is in the archive."""
    post(client, "/cases", event=["1", "2"], name="one")
    early = client.get("/cases/1/archive.zip", follow_redirects=False)
    assert (early.status_code, early.headers["location"]) == (303, "/cases/1/export")
    assert "First the record is checked" in client.get("/cases/1/export").text
    assert post(client, "/cases/1/check").headers["location"] == "/cases/1/export"
    assert "the record holds" in checked_page(client)
    answer = client.get("/cases/1/archive.zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="case-1.zip"'
    with ZipFile(BytesIO(answer.content)) as found:
        assert b"was what was written" in found.read("case-1/README.txt")
        assert len([name for name in found.namelist() if name.endswith(".jpg")]) == 6


def test_a_broken_record_does_not_keep_it_back(filled: DeskRecords, client: TestClient) -> None:
    """The page and the archive say so."""
    post(client, "/cases", event="1", name="one")
    filled.connection.execute("UPDATE events SET score = 0.1 WHERE event = 2")
    post(client, "/cases/1/check")
    assert "The record is not what was written" in checked_page(client)
    with ZipFile(BytesIO(client.get("/cases/1/archive.zip").content)) as found:
        assert b"THE RECORD IS NOT WHAT WAS WRITTEN" in found.read("case-1/README.txt")


def test_an_old_check_is_made_again() -> None:
    state = CheckState(False, 0, 0, CheckedRecord(True, "", BEGAN_UTC))
    assert state.fresh(BEGAN_UTC + FRESH_S - 1) is not None
    assert state.fresh(BEGAN_UTC + FRESH_S) is None
    assert state.fresh(BEGAN_UTC - 1) is None  # the clock was set back


@pytest.mark.parametrize("path", ["/cases/9", "/cases/9/export", "/cases/9/archive.zip", "/api/v1/cases/9"])
def test_there_is_no_such_case(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
    assert client.get(path.replace("9", "0")).status_code == 400


def test_names_are_text_and_never_markup(filled: DeskRecords, client: TestClient) -> None:
    evil = "<script>alert(1)</script>\"'&"
    assert post(client, "/cases", event="1", name=evil, note=evil).status_code == 303
    for path in ("/cases", "/cases/1", "/cases/1/export", "/events"):
        assert "<script>alert" not in client.get(path).text
