# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the desk's pages say, and what none of them says."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.records.journal import Kind

PAGES = (
    "/",
    "/events",
    "/events/1",
    "/cameras",
    "/cameras/cam01",
    "/cases",
    "/parts",
    "/lots",
    "/charts",
    "/charts/parts",
    "/report",
    "/challenges",
    "/figures",
    "/trail",
    "/live",
)
ANSWERS = (
    *("/coverage", "/events", "/events/1", "/cameras", "/cameras/cam01", "/figures"),
    *("/parts", "/lots", "/part-charts", "/part-silences", "/part-baselines"),
    *("/challenges", "/trail", "/live", "/charts", "/silences", "/baselines"),
)


@pytest.fixture
def filled(rows: DeskRecords) -> DeskRecords:
    """Return records with a little of everything."""
    run = rows.run(0, 600, "cam01", "cam02")
    for minute in range(10):
        rows.minute(run, "cam01", minute * 60, inspected=90, missing_s=12.5 if minute == 3 else 0.0)
    rows.gap(run, "cam01", "camera:TIMEOUT", 190, 202.5)
    rows.state(run, "cam01", "RECONNECTING", 190, "TIMEOUT", "no data for 5 s")
    rows.images(rows.event(run, "cam01", 30), b"jpeg")
    rows.clip(run, "cam01", 1, b"mp4")
    return rows


@pytest.mark.parametrize("page", [*PAGES, *(f"/api/v1{answer}" for answer in ANSWERS)])
def test_every_page_and_its_json(filled: DeskRecords, client: TestClient, page: str) -> None:
    del filled
    answer = client.get(page)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("page", [*(page for page in PAGES if "1" not in page), "/?day=1970-01-01", "/?last=1h"])
def test_pages_of_empty_records(client: TestClient, page: str) -> None:
    assert client.get(page).status_code == 200


def test_a_time_without_a_camera_claims_nothing(client: TestClient) -> None:
    shown = client.get("/").text
    assert "No camera was inspected; whether one should have been is not recorded." in shown
    assert "none was missed" not in shown


def test_where_nothing_was_due_the_figures_are_dashes(rows: DeskRecords, client: TestClient) -> None:
    rows.gap(rows.run(600, 660, "cam01"), "cam01", "off", 0, 600)
    rows.run(-600, 0, "cam01")
    shown = client.get("/?since=2026-11-28T20:00Z&until=2026-11-28T20:09Z").text
    assert shown.count("<b>–</b>") == 3
    assert "Nothing was due: no run had a camera in this time." in shown
    assert "Nothing is missing" not in shown


def test_the_json_is_described(client: TestClient) -> None:
    """Programs of the plant read it."""
    described = client.get("/openapi.json").json()["paths"]
    for path, methods in described.items():
        for operation in methods.values():
            assert set(operation["responses"]) in ({"200", "4XX", "503"}, {"202", "4XX", "503"}), path
    ours = {f"/api/v1{path.replace('/1', '/{event}').replace('cam01', '{name}')}" for path in ANSWERS}
    ours |= {"/api/v1/cases", "/api/v1/cases/{number}", "/api/v1/near-misses", "/api/v1/audits", "/api/v1/recipe"}
    ours |= {"/api/v1/parts/{number}"}
    ours |= {f"/api/v1/review/{path}" for path in ("queue", "answers", "answers/{number}/withdraw")}
    assert ours == set(described)


def test_the_first_page_says_what_is_missing_and_why(filled: DeskRecords, client: TestClient) -> None:
    del filled
    shown = client.get("/").text
    assert "camera:TIMEOUT" in shown
    assert "the camera did not answer" in shown
    assert shown.count("all cameras together") == 3
    assert "98.95 %" in shown  # of two cameras in ten minutes, 12.5 s
    assert "12 s" in shown


def test_a_column_that_is_cut_says_that_its_frames_are_of_whole_minutes(
    filled: DeskRecords, client: TestClient
) -> None:
    del filled
    cut = client.get("/?since=2026-11-28T20:00:30Z&until=2026-11-28T20:02:00Z").text
    assert "180 frames in whole minutes</title>" in cut
    assert "180 frames</title>" in client.get("/?since=2026-11-28T20:00:00Z&until=2026-11-28T20:02:00Z").text


def test_a_gap_leads_to_the_states_around_it(filled: DeskRecords, client: TestClient) -> None:
    del filled
    shown = client.get(f"/cameras/cam01?at={BEGAN_UTC + 190}&to={BEGAN_UTC + 202.5}").text
    assert "reconnecting · TIMEOUT" in shown
    assert "no data for 5 s" in shown


def test_a_camera_whose_run_is_over_does_not_look_alive(rows: DeskRecords, client: TestClient) -> None:
    """Nor one whose run was killed: its last state is what it was, and not what it is."""
    rows.state(rows.run(0, 600, "cam01"), "cam01", "RUNNING", 10)
    rows.state(rows.run(700, None, "cam02", alive_s=800), "cam02", "RUNNING", 710)
    now_s = time.time() - BEGAN_UTC
    rows.state(rows.run(now_s - 60, None, "cam03", alive_s=now_s), "cam03", "RUNNING", now_s - 50)
    found = {one["name"]: one["is_live"] for one in client.get("/api/v1/cameras").json()}
    assert found == {"cam01": False, "cam02": False, "cam03": True}
    assert client.get("/cameras").text.count("run over") == 2
    assert "a run goes on" in client.get("/").text


def test_a_killed_run_is_not_said_to_go_on(rows: DeskRecords, client: TestClient) -> None:
    rows.run(0, None, "cam01", alive_s=100)
    shown = client.get("/").text
    assert "a run goes on" not in shown
    assert "gave its last sign of life" in shown


def test_removed_rows_are_said(filled: DeskRecords, client: TestClient) -> None:
    """Where the ledger is gone, no gap means nothing."""
    moments = {"at_utc": BEGAN_UTC, "from_utc": BEGAN_UTC, "to_utc": BEGAN_UTC + 60}
    filled.insert("removals", removed_from="coverage", rows=3, why="keep_days", **moments)
    assert "of that time nothing can be said" in client.get("/").text


def test_the_trail_shows_before_and_after(filled: DeskRecords, client: TestClient) -> None:
    said = {"before": {"reject_threshold": 0.5}, "after": {"reject_threshold": 0.9}, "why": "reload", "user": "anna"}
    filled.connection.journal.append(Kind.CONFIGURATION, "camera/cam01", said, 1)
    filled.connection.journal.flush(filled.connection)
    (entry,) = [one for one in client.get("/api/v1/trail").json()["entries"] if one["kind"] == "configuration"]
    assert entry["changes"] == [{"name": "reject_threshold", "before": "0.5", "after": "0.9"}]
    assert entry["who"] == "anna"
    assert "anna" in client.get("/trail").text


@pytest.mark.parametrize(
    ("file", "who"),
    [
        ({"path": "streams.toml", "owner": "root"}, "anna, streams.toml of root"),
        ({"path": "plant.toml", "missing": "No such file or directory"}, "anna, plant.toml"),
        ({"path": "plant.toml", "owner": "unknown: No such file or directory"}, "anna, plant.toml"),
    ],
)
def test_the_trail_names_no_owner_that_nobody_knows(
    filled: DeskRecords, client: TestClient, file: dict[str, str], who: str
) -> None:
    """A node's plant comes from its fleet's store."""
    said = {"before": None, "after": {"reject_threshold": 0.9}, "why": "reload", "user": "anna", "file": file}
    filled.connection.journal.append(Kind.CONFIGURATION, "camera/cam01", said, 1)
    filled.connection.journal.flush(filled.connection)
    (entry,) = [one for one in client.get("/api/v1/trail").json()["entries"] if one["kind"] == "configuration"]
    assert entry["who"] == who


def test_the_trail_begins_with_what_people_set(filled: DeskRecords, client: TestClient) -> None:
    """How often audits are drawn is set by the line, often; it is behind a button, and in the JSON."""
    said = {"before": None, "after": {"per_hour": 4.0, "probability": 0.01, "since_sequence": 0}}
    filled.connection.journal.append(Kind.CONFIGURATION, "audit/cam01", said, 1)
    filled.connection.journal.flush(filled.connection)
    assert "audit/cam01" not in client.get("/trail").text
    assert "audit/cam01" in client.get("/trail?by_self=true").text
    for more, is_in in (("", True), ("?by_self=false", False)):
        entries = client.get(f"/api/v1/trail{more}").json()["entries"]
        assert ("audit/cam01" in {one["key"] for one in entries}) is is_in


@pytest.mark.parametrize(
    "question",
    [
        "/?day=yesterday",
        "/?since=1",
        "/?since=2026-01-01&until=2025-01-01",
        "/?since=2026-01-01&until=2027-01-01",
        "/?last=9y",
        "/?day=9999-12-31",
        "/events?since=never",
        "/trail?before=0",
        "/api/v1/events?after=99999999999999999999&after_utc=1",
        "/cameras/cam01?at=nan",
        "/cameras/cam01?at=0&to=1795896000",
        "/cameras/cam01?at=1e300",
    ],
)
def test_a_wrong_question_is_answered_with_a_sentence(filled: DeskRecords, client: TestClient, question: str) -> None:
    del filled
    answer = client.get(question)
    assert answer.status_code == 400, answer.text
    assert "Traceback" not in answer.text


_TEXTS = st.one_of(st.text(max_size=12), st.floats().map(str), st.integers().map(str), st.datetimes().map(str))
_FIELDS = (
    "day",
    "shift",
    "since",
    "until",
    "last",
    "at",
    "to",
    "before",
    "after",
    "after_utc",
    "camera",
    "class",
    "verdict",
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.dictionaries(st.sampled_from(_FIELDS), _TEXTS), page=st.sampled_from(PAGES))
def test_nothing_that_is_asked_is_a_fault(
    filled: DeskRecords, client: TestClient, asked: dict[str, str], page: str
) -> None:
    """Not for what somebody types, and not for what a program sends."""
    del filled
    for place in (page, "/api/v1/coverage", "/api/v1/events"):
        answer = client.get(place, params=asked)
        assert answer.status_code in {200, 400}, (place, answer.text)


@pytest.mark.parametrize("page", ["/cameras/none", "/events/999", "/events/99999999999999999999", "/api/v1/trails"])
def test_what_is_not_there(client: TestClient, page: str) -> None:
    assert client.get(page).status_code == 404


def test_names_are_text_and_never_markup(rows: DeskRecords, client: TestClient) -> None:
    """A camera's name, its trouble and a class come from files of others."""
    evil = "<script>alert(1)</script>\"'&"
    run = rows.run(0, 100, evil)
    rows.minute(run, evil, 0, inspected=0, missing_s=60)
    rows.gap(run, evil, evil, 0, 60)
    rows.state(run, evil, "STALE", 1, evil, evil)
    rows.event(run, evil, 1, class_name=evil)
    for page in ("/", "/events", "/events/1", "/cameras", "/trail"):
        shown = client.get(page)
        assert shown.status_code == 200, page
        assert "<script>alert" not in shown.text


def test_no_answer_holds_a_camera_secret(rows: DeskRecords, client: TestClient) -> None:
    """The line writes them masked; a record file may come from elsewhere, or from an earlier version."""
    secret = "Sup3r-Geheim"  # noqa: S105  of a made-up camera
    run = rows.run(0, 100)
    rows.camera(run, "cam01", 0, f"rtsp://admin:{secret}@10.0.0.1/live?password={secret}")
    rows.event(run, "cam01", 1)
    rows.state(run, "cam01", "STALE", 1, "TIMEOUT", f"rtsp://admin:{secret}@10.0.0.1/live: no answer")
    said = {"before": None, "after": {"url": f"rtsp://admin:{secret}@10.0.0.1/live"}}
    rows.connection.journal.append(Kind.CONFIGURATION, "camera/cam01", said, run)
    rows.connection.journal.flush(rows.connection)
    for page in (*PAGES, *(f"/api/v1{answer}" for answer in ANSWERS)):
        answer = client.get(page)
        assert answer.status_code == 200
        assert secret not in answer.text, page


def test_json_and_page_say_the_same(filled: DeskRecords, client: TestClient) -> None:
    del filled
    found = client.get("/api/v1/coverage").json()
    assert json.dumps(found["total"]["not_inspected_s"]) == '{"camera:TIMEOUT": 12.5}'
    assert found["share"] == 1 - 12.5 / 1200
    (gap,) = found["gaps"]
    assert gap["seconds"] == 12.5


def test_templates_have_no_inline_code() -> None:
    """The content security policy would stop it."""
    for template in Path("app/vision_line/desk/templates").glob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert " style=" not in text
        assert "onclick" not in text
        assert "|safe" not in text
