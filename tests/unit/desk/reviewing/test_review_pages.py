# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reviewing over HTTP: what is offered, what is kept, what is refused, and what the second person sees."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk import ORIGIN, DeskUnderTest, desk_over
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing
from tests.fakes.passed_parts import make_part

from vision_line.desk.users.sessions import Role
from vision_line.parts.part import PartVerdict
from vision_line.parts.part_entries import add_part
from vision_line.parts.parts_file import writing as writing_parts
from vision_line.records.side_chain import chain_problem
from vision_line.records.side_journal import entries
from vision_line.reviews.answer_journal import AnswerChange, answers_problem, current_answers
from vision_line.reviews.review_plan import SHARES, is_for_two
from vision_line.reviews.reviews_file import FILE_NAME, reading

PASSWORD = "correct horse battery"  # noqa: S105 - nobody's
EVENTS = 13
QUEUE, ANSWERS = "/api/v1/review/queue", "/api/v1/review/answers"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make records of which much comes to review: borderline events, one without an image, near misses, audits."""
    directory = tmp_path_factory.mktemp("made")
    with writing(directory) as rows:
        run = rows.run(0, 600, "cam")
        for number in range(EVENTS):
            event = rows.event(run, "cam", number)
            rows.connection.execute("UPDATE events SET top_score = 0.5 WHERE event = ?", (event,))
            if number:
                rows.images(event, b"image")
        for number in range(12):
            rows.near_miss(run, "cam", number, b"near")
        boxes = '[{"class": "short", "score": 0.7, "box": [1.0, 2.0, 30.0, 40.0]}]'
        for number in range(30):
            rows.audit(run, "cam", number, b"audit", detections=boxes if number % 4 < 2 else "[]")
    return directory


@pytest.fixture
def filled(made: Path, tmp_path: Path) -> Iterator[DeskRecords]:
    """Yield a copy of those records, before any desk opens it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    with writing(tmp_path) as rows:
        yield rows


@pytest.fixture
def people(filled: DeskRecords) -> Iterator[dict[str, TestClient]]:
    """Yield clients of two reviewers and one who only looks, of one desk."""
    names = {"anna": Role.REVIEWER, "vera": Role.REVIEWER, "otto": Role.READER}
    with desk_over(filled.directory) as desk:
        for name, role in names.items():
            desk.accounts.add(name, role, PASSWORD, by="test")
        yield {name: signed_in(desk, name) for name in names}


def signed_in(desk: DeskUnderTest, name: str) -> TestClient:
    client = TestClient(desk.application, str(desk.client.base_url), raise_server_exceptions=False)
    fields = {"name": name, "password": PASSWORD}
    assert client.post("/enter", data=fields, headers=ORIGIN, follow_redirects=False).status_code == 303
    return client


def offers(client: TestClient, **asked: Any) -> list[dict[str, Any]]:
    answer = client.get(QUEUE, params={"most": 20, **asked})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def everything(client: TestClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while more := offers(client, behind=found[-1]["key"] if found else ""):
        found += more
    return found


def send(client: TestClient, item: str, verdict: str = "confirmed", **other: Any) -> Any:
    return client.post(ANSWERS, json={"item": item, "verdict": verdict, **other}, headers=ORIGIN)


def kept(directory: Path) -> list[Any]:
    with reading(directory) as connection:
        assert connection is not None
        assert (chain_problem(connection), answers_problem(connection)) == ("", "")
        return list(current_answers(connection))


def test_what_is_offered_has_all_that_a_page_needs(filled: DeskRecords, client: TestClient) -> None:
    found = everything(client)
    kinds = {one["kind"] for one in found}
    assert kinds == {"event", "near_miss", "audit"}
    assert [one["kind"] for one in found[: EVENTS - 1]] == ["event"] * (EVENTS - 1), "the borderline comes first"
    for one in found:
        assert client.get(one["image"]).status_code == 200
        assert client.get(one["page"]).status_code == 200
    progress = client.get(QUEUE).json()["progress"]
    assert progress["skipped"] == {"none was kept": 1}
    assert progress["of"] == len(found)
    assert client.get("/review").status_code == 200
    del filled


def test_an_answer_is_kept_with_its_stratum_probability_and_what_the_line_said(
    filled: DeskRecords, client: TestClient
) -> None:
    """The client says none of them: nobody can review what was not drawn, or count it more."""
    found = everything(client)
    near = next(one for one in found if one["kind"] == "near_miss")
    assert send(client, found[0]["key"], note="on the rim", took_s=1.25).json() == {"number": 1}
    assert send(client, near["key"], "overruled", **{"class": None}).status_code == 200
    event, miss = kept(filled.directory)
    assert (event.person, event.stratum, event.inclusion, event.note) == (
        "owner",
        "reject, borderline",
        1.0,
        "on the rim",
    )
    assert (event.call.verdict, event.call.class_name, event.call.reject_threshold) == ("reject", "open", 0.5)
    assert (miss.stratum, miss.inclusion) == ("near misses", SHARES["near misses"] * 0.5)


def test_the_queue_goes_on_behind_what_was_answered_and_undo_brings_it_back(
    filled: DeskRecords, client: TestClient
) -> None:
    first, second = offers(client)[:2]
    number = send(client, first["key"]).json()["number"]
    turn = client.get(QUEUE).json()
    assert turn["items"][0]["key"] == second["key"]
    assert (turn["progress"]["done"], turn["progress"]["own"], turn["newest_answer"]) == (1, 1, number)
    back = client.post(f"{ANSWERS}/{number}/withdraw", headers=ORIGIN).json()
    assert (back["counted"], back["item"]["key"]) == (True, first["key"])
    again = client.post(f"{ANSWERS}/{number}/withdraw", headers=ORIGIN).json()
    assert again["counted"] is False
    turn = client.get(QUEUE).json()
    assert (turn["items"][0]["key"], turn["progress"]["done"], turn["newest_answer"]) == (first["key"], 0, None)
    with reading(filled.directory) as connection:
        assert connection is not None
        assert [entry.kind for entry in entries(connection, AnswerChange)] == ["answer", "answer_withdrawn"]


def test_a_double_click_is_one_answer_and_another_answer_another(filled: DeskRecords, client: TestClient) -> None:
    key = offers(client)[0]["key"]
    one, again = (send(client, key, submission="abc").json() for _ in range(2))
    assert one == again
    assert send(client, key, "overruled", submission="abd").json() != one
    assert [answer.verdict for answer in kept(filled.directory)] == ["overruled"]


def test_an_audit_is_answered_with_its_true_defects(filled: DeskRecords, client: TestClient) -> None:
    """Confirmed: what the line found. Overruled: what a person drew and kept, cut at the edges of the image."""
    audits = [one for one in everything(client) if one["kind"] == "audit"]
    found = next(one for one in audits if one["boxes"])
    empty = next(one for one in audits if not one["boxes"])
    drawn = {"class": "open", "x1": 600.0, "y1": 300.0, "x2": 641.0, "y2": 360.0}
    assert send(client, empty["key"], "overruled").status_code == 400
    assert send(client, empty["key"], "overruled", boxes=[drawn]).status_code == 200
    assert send(client, found["key"], "confirmed", boxes=[]).status_code == 400
    assert send(client, found["key"], "confirmed").status_code == 200
    by_key = {str(one.item): one for one in kept(filled.directory)}
    (box,) = by_key[empty["key"]].boxes
    assert (box.class_name, box.x2, box.y2) == ("open", 640.0, 360.0)
    (box,) = by_key[found["key"]].boxes
    assert (box.class_name, box.x1, box.y2) == ("short", 1.0, 40.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"item": "event/run at 0/event 1"}, "not up for review: none was kept"),
        ({"item": "event/run at 0/event 999"}, "no such item"),
        ({"item": "nothing"}, "expected event/RUN/ID"),
        ({"class": "dent"}, "expected one of open, short"),
        ({"boxes": [{"class": "dent", "x1": 1, "y1": 1, "x2": 9, "y2": 9}]}, "expected one of open, short"),
        ({"boxes": [{"class": "open", "x1": 1, "y1": 1, "x2": 900, "y2": 9}]}, "outside of the image"),
        ({"boxes": [{"class": "open", "x1": 9, "y1": 1, "x2": 2, "y2": 9}]}, "x1 below x2"),
        ({"boxes": [{"class": "open", "x1": 5.001, "y1": 1, "x2": 5.002, "y2": 9}]}, "x1 below x2"),
        ({"boxes": []}, "a defect that is confirmed has one"),
        ({"verdict": "fine"}, "verdict"),
        ({"stratum": "audits"}, "stratum"),
        ({"note": "x" * 2001}, "note"),
        ({"note": "\ud800"}, "note"),
    ],
)
def test_what_cannot_be_an_answer(
    filled: DeskRecords, client: TestClient, change: dict[str, object], said: str
) -> None:
    sent = {"item": offers(client)[0]["key"], "verdict": "confirmed", **change}
    headers = {**ORIGIN, "Content-Type": "application/json"}
    answer = client.post(ANSWERS, content=json.dumps(sent), headers=headers)
    assert answer.status_code in {400, 404}
    assert said in answer.json()["error"]
    assert not (filled.directory / FILE_NAME).exists()


def test_an_item_that_was_not_drawn_cannot_be_reviewed(filled: DeskRecords, client: TestClient) -> None:
    """Whoever chose what to review would choose what the figures say."""
    drawn = {one["key"] for one in everything(client)}
    other = next(key for n in range(1, 31) if (key := f"audit/run at 0/cam/{100 + n}") not in drawn)
    answer = send(client, other)
    assert answer.status_code == 400
    assert "was not drawn" in answer.json()["error"]
    del filled


def test_a_reader_does_not_answer(people: dict[str, TestClient]) -> None:
    """And holds nothing back from those who do."""
    looked = offers(people["otto"])
    assert "may look, and not answer" in people["otto"].get("/review").text
    assert send(people["otto"], looked[0]["key"]).status_code == 403
    assert [one["key"] for one in offers(people["anna"])] == [one["key"] for one in looked]


def test_two_reviewers_get_different_items_and_a_slow_one_is_not_lost(
    filled: DeskRecords, people: dict[str, TestClient]
) -> None:
    annas, veras = (offers(people[name], most=4) for name in ("anna", "vera"))
    assert not {one["key"] for one in annas} & {one["key"] for one in veras}
    late = annas[0]["key"]
    assert send(people["vera"], late).status_code == 200
    assert send(people["anna"], late, "overruled").status_code == 200
    assert [(one.person, one.is_second) for one in kept(filled.directory)] == [("vera", False), ("anna", True)]


def a_minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second answer be no slip any more."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 61.0)


def test_the_second_review_is_another_person_s_and_blind(
    filled: DeskRecords, people: dict[str, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever reviews are shown: of what waits for a second person there is only that it waits."""
    anna, vera = people["anna"], people["vera"]
    item = next(one for one in everything(anna) if one["kind"] == "event" and is_for_two(one["key"]))
    number = send(anna, item["key"], "overruled", note="a scratch, no open").json()["number"]
    assert item["key"] not in {one["key"] for one in everything(anna)}
    (own,), (others,) = (client.get(ANSWERS).json() for client in (anna, vera))
    assert (own["verdict"], own["note"], own["is_hidden"]) == ("overruled", "a scratch, no open", False)
    assert (others["verdict"], others["note"], others["boxes"], others["is_hidden"]) == (None, "", None, True)
    page = f"/events/{item['number']}"
    for seen in (vera.get(page).text, vera.get("/events").text, vera.get("/events?reviewed=reviewed").text):
        assert "second review due" in seen
        assert "✕ overruled" not in seen
        assert "scratch" not in seen
    assert "✕ overruled" in anna.get(page).text
    assert not vera.get("/api/v1/events?reviewed=overruled").json()["events"]
    assert [one["key"] for one in everything(vera) if one["key"] == item["key"]] == [item["key"]]
    assert vera.post(f"{ANSWERS}/{number}/withdraw", headers=ORIGIN).status_code == 400
    send(vera, item["key"])
    assert [one["verdict"] for one in vera.get(ANSWERS).json()] == [None, "confirmed"], "her answer may be a slip yet"
    a_minute_later(monkeypatch)
    assert [one["verdict"] for one in vera.get(ANSWERS).json()] == ["overruled", "confirmed"]
    assert "✕ overruled" in vera.get(page).text
    assert [one.is_second for one in kept(filled.directory)] == [False, True]


def test_no_figure_shows_what_the_first_person_said(
    filled: DeskRecords, people: dict[str, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even of a time with that item alone: of what waits for a second person there is only that it waits."""
    anna, vera = people["anna"], people["vera"]
    item = next(one for one in everything(anna) if one["kind"] == "event" and is_for_two(one["key"]))

    def figures() -> Any:
        return vera.get("/api/v1/figures", params={"since": "2026-11-28T20:00Z", "until": "2026-11-28T20:10Z"}).json()

    before = figures()
    send(anna, item["key"], "overruled")
    while_it_waits = figures()
    assert (before["counts"].pop("second_due"), while_it_waits["counts"].pop("second_due")) == (0, 1)
    assert while_it_waits == before
    assert "1 items were answered by the first of two people" in vera.get("/figures").text
    send(vera, item["key"])
    assert figures()["counts"]["reviewed"] == 0
    a_minute_later(monkeypatch)
    assert figures()["counts"]["reviewed"] == 1
    del filled


def test_no_chart_of_parts_shows_what_the_first_person_said(filled: DeskRecords, people: dict[str, TestClient]) -> None:
    """Parts have what the line said and sent: not a digit of their pages moves by an answer."""
    anna, vera = people["anna"], people["vera"]
    item = next(one for one in everything(anna) if one["kind"] == "event" and is_for_two(one["key"]))
    _, run_id, event_id = item["key"].split("/")
    part = make_part(1, BEGAN_UTC + 30, lot="L-1", verdict=PartVerdict.REJECT, run_id=run_id, events=(event_id,))
    with writing_parts(filled.directory) as connection:
        add_part(connection, part)
    pages = ("/charts/parts", "/charts/parts?period=lot", "/charts/parts/points.csv", "/api/v1/part-charts?lane=a")

    def seen() -> list[str]:
        return [vera.get(page).text for page in (*pages, "/parts", "/lots", "/api/v1/events?lot=L-1")]

    before = seen()
    assert "1 of 1 inspected parts rejected" in before[0]
    send(anna, item["key"], "overruled", note="a scratch, no open")
    assert seen() == before


def test_the_gallery_filters_by_review(filled: DeskRecords, client: TestClient) -> None:
    events = [one for one in offers(client) if not is_for_two(one["key"])][:2]
    send(client, events[0]["key"], "confirmed")
    send(client, events[1]["key"], "overruled")

    def numbers(reviewed: str) -> set[int]:
        found = client.get("/api/v1/events", params={"reviewed": reviewed}).json()["events"]
        return {one["event"] for one in found}

    reviewed = {one["number"] for one in events}
    assert numbers("reviewed") == reviewed
    assert numbers("overruled") == {events[1]["number"]}
    assert numbers("not reviewed") == set(range(1, EVENTS + 1)) - reviewed
    assert len(numbers("")) == EVENTS
    page = client.get("/events?reviewed=overruled").text
    assert page.count("✕ overruled") == 1
    assert "<option selected>overruled" in page
    del filled


def test_answers_come_in_pages(filled: DeskRecords, client: TestClient) -> None:
    for one in offers(client)[:3]:
        send(client, one["key"])
    numbers = [one["number"] for one in client.get(ANSWERS).json()]
    assert [one["number"] for one in client.get(ANSWERS, params={"after": numbers[0]}).json()] == numbers[1:]
    del filled


def test_an_image_that_is_removed_meanwhile(filled: DeskRecords, client: TestClient) -> None:
    """It cannot be answered any more, and taking back an answer for it says so."""
    one = offers(client)[0]
    number = send(client, one["key"]).json()["number"]
    filled.connection.execute("UPDATE evidence SET deleted_utc = 1")
    answer = send(client, one["key"])
    assert answer.status_code == 400
    assert "the image was removed" in answer.json()["error"]
    back = client.post(f"{ANSWERS}/{number}/withdraw", headers=ORIGIN).json()
    assert (back["counted"], back["item"]) == (True, None)
    assert client.get(QUEUE).json()["progress"]["skipped"]["the image was removed"] == EVENTS - 1


def test_a_run_that_goes_on_adds_to_the_queue(rows: DeskRecords, client: TestClient) -> None:
    run = rows.run(0, None, "cam", alive_s=600)
    assert offers(client) == []
    for number in range(40):
        rows.audit(run, "cam", number, b"audit")
    more = offers(client)
    assert more
    assert send(client, more[0]["key"]).status_code == 200


def test_where_nothing_can_be_written_it_is_said_ahead(
    filled: DeskRecords, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To root, as whom tests may run, every folder is writable: so the system's answer is given here."""
    del filled
    assert "Answers cannot be kept" not in client.get("/review").text
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "Answers cannot be kept" in client.get("/review").text


def test_where_the_answers_cannot_be_kept_the_sentence_says_so(filled: DeskRecords, client: TestClient) -> None:
    """A folder in its place, as for root nothing is read-only."""
    key = offers(client)[0]["key"]
    (filled.directory / FILE_NAME).mkdir()
    answer = send(client, key)
    assert answer.status_code == 503
    assert FILE_NAME in answer.json()["error"]


def test_another_time_is_another_queue(filled: DeskRecords, client: TestClient) -> None:
    asked = {"since": "2026-11-28T19:00:00Z", "until": "2026-11-28T20:00:05Z"}
    inside = client.get(QUEUE, params={**asked, "most": 20}).json()
    assert inside["time"] == {"since_utc": BEGAN_UTC - 3600, "until_utc": BEGAN_UTC + 5}
    assert {one["number"] for one in inside["items"] if one["kind"] == "event"} == {2, 3, 4, 5}
    assert client.get(QUEUE, params={"since": "x", "until": "y"}).status_code == 400
    del filled
