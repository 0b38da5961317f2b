# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages of challenges: what is due, a challenge from begin to end by its buttons, and who may."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.fakes.challenge_plans import begun, enter_act, enter_begun, inspected_clip, replayed, target
from tests.fakes.challenge_plans import planned as passes
from tests.fakes.desk import ORIGIN, DeskUnderTest
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.challenges import doing, measuring
from vision_line.challenges.challenge_targets import PLAN_KEY, ChallengeTarget
from vision_line.challenges.clip_plan import PlannedClip
from vision_line.challenges.clip_results import clip_result, enter_replay
from vision_line.challenges.doing import recent
from vision_line.challenges.entry_bodies import ChallengeAct, ChallengeOutcome
from vision_line.desk.report.document import document
from vision_line.desk.report.period import WantedPeriod
from vision_line.desk.report.shift_report import read_report
from vision_line.desk.users.sessions import Role
from vision_line.records.journal import Kind
from vision_line.records.schema import transaction
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import FILE_NAME as REVIEWS
from vision_line.reviews.reviews_file import writing


def post(client: TestClient, act: str, **fields: str) -> Any:
    """Press a button."""
    return client.post(f"/challenges/{act}", data=fields, headers=ORIGIN, follow_redirects=False)


def enter_plan(rows: DeskRecords, *targets: ChallengeTarget) -> None:
    """Enter a plan as the line does at its start."""
    after = {"sha256": "ab" * 32, "targets": [json.loads(one.model_dump_json()) for one in targets]}
    with transaction(rows.connection):
        rows.connection.journal.append(Kind.CONFIGURATION, PLAN_KEY, {"before": None, "after": after}, 1)


@pytest.fixture
def planned(rows: DeskRecords) -> DeskRecords:
    """Return records of a run with a plan for its camera."""
    rows.run(0, 6000, "cam01")
    enter_plan(rows, target("cam01", on_fail="stop"))
    return rows


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time of acts, which stands still."""
    now = [BEGAN_UTC + 100.0]

    class Clock:
        monotonic, sleep, strftime, localtime = time.monotonic, time.sleep, time.strftime, time.localtime

        @staticmethod
        def time() -> float:
            return now[0]

    for module in (doing, measuring):
        monkeypatch.setattr(module, "time", Clock)
    monkeypatch.setattr("vision_line.desk.challenges.challenge_board.time", Clock)
    monkeypatch.setattr("vision_line.desk.challenges.challenge_pages.time", Clock)
    return now


def test_without_a_plan_the_page_says_how_to_begin(client: TestClient) -> None:
    assert "Nothing is challenged" in client.get("/challenges").text
    assert client.get("/api/v1/challenges").json() == []


def test_the_first_page_says_what_is_overdue(planned: DeskRecords, client: TestClient) -> None:
    """Inspected everywhere is no good news while nobody knows that defects would be seen."""
    del planned
    home = client.get("/").text

    assert "The challenge of cam01 is overdue" in home
    assert "Every camera of the run is inspected now" not in home


def test_what_was_never_challenged_is_overdue(planned: DeskRecords, client: TestClient) -> None:
    del planned
    shown = client.get("/challenges").text
    assert "▲ overdue" in shown
    assert "The line says that it is not ready." in shown
    assert "2 passes without a miss show a miss rate below 77.6 %" in shown
    (found,) = client.get("/api/v1/challenges").json()
    assert (found["target"], found["state"], found["due_utc"], found["on_fail"]) == ("cam01", "overdue", 0, "stop")


def test_a_challenge_by_its_buttons(planned: DeskRecords, client: TestClient, clock: list[float]) -> None:
    assert post(client, "start", target="cam01").status_code == 303
    (begun,) = recent(planned.directory, 1e4)
    for planned_pass in begun.begun.passes:
        assert f"Take part <b>{planned_pass.part}</b>" in client.get("/challenges").text
        clock[0] += 10
        assert post(client, "next", target="cam01").status_code == 303
        if planned_pass.expects:
            planned.event(1, "cam01", clock[0] - BEGAN_UTC + 1)
    assert "When it has gone by, press" in client.get("/challenges").text
    assert post(client, "next", target="cam01").status_code == 409
    clock[0] += 10
    client.post("/challenges/abort", data={"target": "cam02"}, headers=ORIGIN)
    doing.end(planned.directory, "cam01", "owner")
    clock[0] += 10
    assert post(client, "result", target="").status_code == 303

    shown = client.get("/challenges").text
    assert "● passed" in shown
    assert "Due again by" in shown
    assert "0 of 2 defective passes missed: the miss rate is below 77.6 %" in shown
    (number,) = set(re.findall(r"/challenges/(\d+)", shown))
    detail = client.get(f"/challenges/{number}").text
    assert detail.count("● found") == 3  # two passes and the part
    assert detail.count("/events/") == 2
    (found,) = recent(planned.directory, 1e4)
    assert found.result is not None
    assert found.result.outcome is ChallengeOutcome.PASSED


@pytest.mark.parametrize("path", ["/", "/challenges", "/api/v1/challenges"])
def test_a_later_page_enters_what_nobody_waited_for(
    planned: DeskRecords, client: TestClient, clock: list[float], path: str
) -> None:
    """A part travels for longer than the button waits, and nobody asks again: failed is entered."""
    directory = planned.directory
    with writing(directory) as connection:
        body = begun(("cam01",), passes("A17:open"), clock[0] + 10).model_copy(update={"travel_s": 100.0})
        number = enter_begun(connection, "cam01", body)
        enter_act(connection, "cam01", ChallengeAct.PART, number, clock[0] + 20)
        enter_act(connection, "cam01", ChallengeAct.ENDED, number, clock[0] + 30)
    clock[0] += 131
    client.get(path)
    assert "A result waits for the records" in client.get("/challenges").text
    clock[0] += 10
    client.get(path)

    (found,) = [one for one in recent(directory, 1e4) if one.number == number]
    assert found.result is not None
    assert found.result.outcome is ChallengeOutcome.FAILED
    assert "challenge of cam01 failed: 1 of 1 defective parts were missed" in client.get("/challenges").text


def test_a_result_that_cannot_be_entered_is_said_and_no_page_falls(
    planned: DeskRecords, client: TestClient, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vision_line.records.side_file._BUSY_TIMEOUT_S", 0.0)
    with writing(planned.directory) as connection:
        number = enter_begun(connection, "cam01", begun(("cam01",), passes("A17:open"), clock[0]))
        enter_act(connection, "cam01", ChallengeAct.ENDED, number, clock[0] + 10)
    clock[0] += 100
    with closing(sqlite3.connect(planned.directory / REVIEWS, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        shown = client.get("/challenges")
        other.execute("ROLLBACK")
    assert shown.status_code == 200
    assert "is not entered" in shown.text


def test_what_cannot_be_done_is_said_on_the_page(planned: DeskRecords, client: TestClient) -> None:
    del planned
    for act, fields in (("next", {"target": "cam01"}), ("end", {"target": "cam01"}), ("start", {"target": "cam09"})):
        answer = post(client, act, **fields)
        assert answer.status_code == 409
        assert "cam0" in answer.text
    assert client.get("/challenges/77").status_code == 404


def test_only_reviewers_may_act(planned: DeskRecords, desk: DeskUnderTest) -> None:
    desk.accounts.add("vera", Role.READER, "correct horse battery", by="test")
    desk.client.cookies.clear()
    assert desk.sign_in_as("vera", "correct horse battery").status_code == 303
    for act in ("start", "next", "end", "abort", "result"):
        assert post(desk.client, act, target="cam01").status_code == 403
    shown = desk.client.get("/challenges")
    assert shown.status_code == 200
    assert "<button" not in shown.text.partition("<main")[2]
    assert recent(planned.directory, 1e4) == []


def test_a_damaged_file_of_reviews_is_one_sentence(planned: DeskRecords, client: TestClient) -> None:
    (planned.directory / "reviews.sqlite").write_bytes(b"nothing of ours" * 99)
    assert client.get("/api/v1/challenges").status_code in {401, 503}


def test_recorded_clips_stand_by_themselves(planned: DeskRecords, client: TestClient) -> None:
    """With what was found in each; the line stays overdue."""
    for name, found in (("a.mp4", "open"), ("b <i>.mp4", "")):
        clip = PlannedClip(name, Path(name), "cam01", frozenset({"open"}))
        result = clip_result(clip, inspected_clip(found, 30))
        outcome = ChallengeOutcome.PASSED if found else ChallengeOutcome.FAILED
        enter_replay(planned.directory, replayed(result, outcome=outcome))
    shown = client.get("/challenges").text
    assert 'Recorded clips <span class="chip bad">■ failed</span>' in shown
    assert "b &lt;i&gt;.mp4" in shown
    assert "1 of 1 defective passes missed" in shown
    assert "<summary>Earlier</summary>" in shown
    assert [one["state"] for one in client.get("/api/v1/challenges").json()] == ["overdue"]


def test_clips_of_several_models_say_which_inspected_them(planned: DeskRecords, client: TestClient) -> None:
    clips = [PlannedClip(name, Path(name), "cam01", frozenset({"open"})) for name in ("a.mp4", "b.mp4")]
    own = clip_result(clips[0], inspected_clip("open", model=("pcb", "2" * 64)))
    other = clip_result(clips[1], inspected_clip("open", recipe="caps", model=("caps-8", "3" * 64)))
    enter_replay(planned.directory, replayed(own, other, outcome=ChallengeOutcome.PASSED))
    shown = client.get("/challenges").text
    assert "Model pcb <code>222222222222</code>, Model caps-8 <code>333333333333</code> on cpu" in shown
    assert "cam01 under caps, by caps-8" in shown


def test_the_report_says_what_challenges_showed_and_what_held_at_its_end(planned: DeskRecords) -> None:
    """A result that came after the time changes nothing of it."""
    criteria = {"miss": 0.02, "false_reject": 0.05, "seed": "", "plan_sha256": ""}
    one = {"part": "A17", "expects": ["open"], "from_utc": 0.0, "to_utc": 1.0}
    rest = {"why": ["1 was missed"], "strays": 0, "criteria": criteria, "record_number": 1, "record_head": ""}
    with writing(planned.directory) as connection:
        for at_s, outcome, of_pass in ((200, "failed", "missed"), (5000, "passed", "found")):
            number = enter_begun(connection, "cam01", begun(("cam01",), passes("A17:open"), BEGAN_UTC + at_s - 50))
            enter_act(connection, "cam01", ChallengeAct.ENDED, number, BEGAN_UTC + at_s)
            body = {"challenge": number, "at_utc": BEGAN_UTC + at_s, "outcome": outcome, **rest}
            append(connection, ChallengeAct.RESULT, "cam01", body | {"passes": [one | {"outcome": of_pass}]})

    def said(since: str, until: str) -> str:
        wanted = WantedPeriod(since=f"2026-11-28T{since}Z", until=f"2026-11-28T{until}Z")
        found = document(read_report(planned.directory, wanted, BEGAN_UTC + 86_400, 0))
        return found[found.index("Challenge parts</h2>") : found.index("What inspected</h2>")]

    failed, quiet, passed = said("20:00", "20:30"), said("20:30", "21:00"), said("21:00", "22:00")
    assert ("■ failed" in failed, "1 of 1 defective passes missed" in failed) == (True, True), failed
    assert "■ challenge of cam01 failed: 1 was missed" in failed
    assert ("No challenge in this period." in quiet, "challenge of cam01 failed" in quiet) == (True, True), quiet
    assert ("● passed" in passed, "cam01 had passed, due again by" in passed) == (True, True), passed
    assert "challenge of cam01 is overdue" in said("18:00", "20:00")
