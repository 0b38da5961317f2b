# SPDX-License-Identifier: AGPL-3.0-or-later
"""Charts and baselines by their pages: what is drawn, what is said beside it, who may approve, and what stays."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from tests.fakes.chart_records import DAY_S, YEAR_BEGINS_UTC, ChartLine, made_line
from tests.fakes.desk import ORIGIN, DeskUnderTest, desk_over
from tests.fakes.desk_records import BEGAN_UTC, writing

from vision_line.desk.report.document import document
from vision_line.desk.report.period import WantedPeriod
from vision_line.desk.report.shift_report import read_report
from vision_line.desk.users.sessions import Role
from vision_line.records.columns import Table
from vision_line.records.query import Selection
from vision_line.records.removal import prune
from vision_line.records.schema import transaction
from vision_line.records.table_export import Format, export

PASSWORD = "correct horse battery"  # noqa: S105 - nobody's
CAMERAS = {"cam01": "line 1", "cam02": "line 1", "cam03": "line 2"}
DAYS = 14
ENDS_UTC = YEAR_BEGINS_UTC + DAYS * DAY_S


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """Return two weeks of three cameras with two events an hour each."""
    made_line(tmp_path, ChartLine(DAYS, CAMERAS, lambda at_s: np.full(len(at_s), 2.0)))
    return tmp_path


@pytest.fixture
def desk(line: Path) -> Iterator[DeskUnderTest]:
    with desk_over(line) as found:
        found.sign_in()
        yield found


def burst(line: Path, camera: str, begins_utc: float, events: int = 60) -> None:
    """Add many events within an hour."""
    with writing(line) as rows, transaction(rows.connection):
        for n in range(events):
            at_s = begins_utc - BEGAN_UTC + 10.0 + n
            rows.connection.execute(
                """INSERT INTO events (run, camera, station, recipe, event_id, class, verdict, phase, ended, score,
                top_score, hits, x1, y1, x2, y2, sequence, confirmed_sequence, first_seen_utc, first_seen_s,
                last_seen_utc, last_seen_s) VALUES (1, ?, ?, '', ?, 'open', 'reject', 'end', 1, 0.9, 0.9, 2, 1, 1, 2, 2,
                1, 1, ?, ?, ?, ?)""",
                (camera, CAMERAS[camera], f"burst {at_s}", BEGAN_UTC + at_s, at_s, BEGAN_UTC + at_s, at_s),
            )


def charts(desk: DeskUnderTest, **asked: str | int) -> Any:
    answer = desk.client.get("/api/v1/charts", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def approve(desk: DeskUnderTest, asked: str, **more: str) -> Any:
    """Approve what the page of phase I shows, as its form does."""
    shown = desk.client.get(f"/charts/baseline?{asked}").text
    form = re.search(r'<form class="fields" method="post" action="(/charts/baseline[^"]*)">(.*?)</form>', shown, re.S)
    assert form is not None, shown
    pairs = re.findall(r'name="(\w+)" value="([^"]*)"', form[2])
    body = {name: [html.unescape(value) for key, value in pairs if key == name] for name, _ in pairs} | more
    return desk.client.post(html.unescape(form[1]), data=body, headers=ORIGIN, follow_redirects=False)


def withdraw(desk: DeskUnderTest, reason: str) -> Any:
    """Withdraw the baseline of cam01's hours, as the form does."""
    address = "/charts/baseline/withdraw?camera=cam01&period=hour"
    return desk.client.post(address, data={"reason": reason}, headers=ORIGIN, follow_redirects=False)


def test_station_totals_are_shown_first_and_say_that_nobody_approved_their_limits(desk: DeskUnderTest) -> None:
    shown = charts(desk)
    assert [one["scope"]["station"] for one in shown["charts"]] == ["line 1", "line 2"]
    assert {one["scope"]["period"] for one in shown["charts"]} == {"shift"}
    assert [one["baseline"] for one in shown["charts"]] == [None, None]
    assert shown["false_alarms_a_week"] == sum(one["chart"]["false_alarms_a_week"] for one in shown["charts"]) > 0.1
    page = desk.client.get("/charts").text
    assert page.count("Limits from this data, not approved") == 2
    assert f"<b>{shown['false_alarms_a_week']:.2f}</b> times a week" in page
    assert "watches nothing: it needs an approved baseline" in page


def test_a_form_whose_time_was_left_open_is_the_usual_time(desk: DeskUnderTest) -> None:
    """Browsers send the empty choice too."""
    usual = charts(desk)

    assert (
        desk.client.get("/charts?station=&camera=&class=&days=&since=&until=&test=1&test=2&test=3").status_code == 200
    )
    assert desk.client.get("/api/v1/charts?days=").json() == usual


def test_of_a_single_chart_the_baseline_is_of_what_it_shows(line: Path, desk: DeskUnderTest) -> None:
    """Where there is one station, also if nobody chose it; all cameras together are somebody's choice."""
    assert '?station=line+1&amp;period=shift"' not in desk.client.get("/charts").text
    assert 'href="/charts/baseline?together=1&amp;period=shift"' in desk.client.get("/charts?together=1").text
    with writing(line) as rows, transaction(rows.connection):
        rows.connection.execute("UPDATE cameras SET station = 'line 1'")
    shown = desk.client.get("/charts").text
    assert 'href="/charts/baseline?station=line+1&amp;period=shift"' in shown


def test_the_figures_of_page_json_table_report_and_export_are_the_same(
    line: Path, desk: DeskUnderTest, tmp_path: Path
) -> None:
    """Of a shift by its hours: events to the last one, seconds to the millisecond, rates to the last digit."""
    since, until = "2025-12-10T06:00:00+01:00", "2025-12-10T14:00:00+01:00"
    asked = {"together": "1", "period": "hour", "since": since, "until": until, "class": ""}
    approve(desk, "together=1&period=hour&days=13")
    (one,) = charts(desk, **asked)["charts"]
    table = list(csv.DictReader(io.StringIO(desk.client.get("/charts/points.csv", params=asked).text.lstrip("\ufeff"))))
    page = desk.client.get("/charts", params=asked).text
    report = read_report(line, WantedPeriod(shift="2025-12-10/early"), ENDS_UTC, 0)
    reported = report.usual.chart.points
    exported = tmp_path / "events.jsonl"
    from_utc, to_utc = (datetime.fromisoformat(moment).timestamp() for moment in (since, until))
    export(line, Table.EVENTS, Format.JSONL, Selection(from_utc, to_utc), exported)
    counted = [json.loads(text) for text in exported.read_text(encoding="utf-8").splitlines()]
    assert len(one["chart"]["points"]) == len(table) == len(reported) == 8
    assert sum(point["events"] for point in one["chart"]["points"]) == len(counted) == report.found.total.called
    inspected_s = sum(own.covered.due_s - own.missing_s for own in report.inspected.cameras)
    assert sum(one["series"]["inspected_s"]) == pytest.approx(inspected_s, abs=1e-3)
    for point, row, own in zip(one["chart"]["points"], table, reported, strict=True):
        for name, text in (("value", "per_hour"), ("lower", "lower"), ("upper", "upper")):
            assert point[name] == float(row[text]) == getattr(own, name)
        assert point["events"] == int(row["events"]) == own.events
        seconds = float(row["inspected_s"])
        assert point["inspected_h"] == own.inspected_h == seconds / 3600.0
        said = f"{own.events} events in {seconds:.3f} s inspected, {own.value:.3f} an hour"
        assert said in page
    assert "Both are an approved baseline's: owner approved them" in document(report)


def test_a_burst_is_called_with_a_link_to_the_events_behind_it(line: Path, desk: DeskUnderTest) -> None:
    begins = YEAR_BEGINS_UTC + 12 * DAY_S + 6 * 3600.0
    burst(line, "cam01", begins)
    (one,) = charts(desk, camera="cam01", period="hour", days=7)["charts"]
    called = [point for point in one["chart"]["points"] if 1 in point["tests"]]
    assert begins in [point["since_utc"] for point in called]
    shown = desk.client.get("/charts?camera=cam01&period=hour&days=7").text
    assert "test 1, a point beyond 3 sigma, above the mean" in shown
    links = [html.unescape(link) for link in re.findall(r'warn-line">◎ <a href="([^"]+)"', shown)]
    found = {link: desk.client.get(f"/api/v1{link}").json()["events"] for link in links}
    assert any(len(events) == 50 for events in found.values())
    for link in links:
        asked = parse_qs(urlsplit(link).query)
        assert asked["verdict"] == ["reject", "warn"]
        assert asked["camera"] == ["cam01"]


def test_a_period_without_inspection_has_no_point_and_says_so(line: Path, desk: DeskUnderTest) -> None:
    begins_s = YEAR_BEGINS_UTC + 10 * DAY_S + 6 * 3600.0 - BEGAN_UTC
    with writing(line) as rows:
        rows.gap(2, "cam03", "camera:TIMEOUT", begins_s, begins_s + 8 * 3600.0)
    (one,) = charts(desk, camera="cam03", days=13)["charts"]
    (gap,) = one["chart"]["without"]
    assert (gap["periods"], gap["until_utc"] - gap["since_utc"]) == (1, 8 * 3600.0)
    assert len(one["chart"]["points"]) == len(one["series"]["periods"]) - 1
    shown = desk.client.get("/charts?camera=cam03&days=13").text
    assert "1 shift without a point, because less than a minute was inspected" in shown
    assert "no point: not inspected" in shown


def test_an_approved_baseline_freezes_the_limits(line: Path, desk: DeskUnderTest) -> None:
    """What comes later moves them no more; withdrawn, the data's own are back."""
    asked = "camera=cam01&period=hour&days=7"
    answer = approve(desk, asked)
    assert (answer.status_code, answer.headers["location"]) == (303, "/charts?camera=cam01&period=hour")
    (before,) = charts(desk, camera="cam01", period="hour")["charts"]
    burst(line, "cam01", ENDS_UTC - 3600.0)
    (after,) = charts(desk, camera="cam01", period="hour")["charts"]
    assert sum(after["series"]["events"]) == sum(before["series"]["events"]) + 60
    assert after["chart"]["limits"] == before["chart"]["limits"] == before["baseline"]["approved"]["baseline"]["limits"]
    shown = desk.client.get("/charts?camera=cam01&period=hour").text
    assert "owner approved them on" in shown
    assert "Limits from this data" not in shown
    assert withdraw(desk, " ").status_code == 400
    assert withdraw(desk, "a new lamp").status_code == 303
    shown = desk.client.get("/charts?camera=cam01&period=hour").text
    assert "Limits from this data, not approved" in shown
    assert "owner withdrew it: a new lamp" in shown
    assert withdraw(desk, "again").status_code == 409


def test_what_is_excluded_needs_a_reason_and_is_entered_with_it(line: Path, desk: DeskUnderTest) -> None:
    begins = YEAR_BEGINS_UTC + 12 * DAY_S + 6 * 3600.0
    burst(line, "cam01", begins)
    asked = "camera=cam01&period=hour&days=7"
    whole = desk.client.get(f"/charts/baseline?{asked}").text
    assert "2025-12-10 06:00" in whole
    without = f"{asked}&excluded={begins}&reason=a+pallet+fell"
    assert "(excluded)" in desk.client.get(f"/charts/baseline?{without}").text
    assert desk.client.get(f"/charts/baseline?{asked}&also={begins}&also_reason=").status_code == 400
    assert desk.client.get(f"/charts/baseline?{asked}&excluded=1.5&reason=none").status_code == 400
    assert approve(desk, without).status_code == 303
    (found,) = desk.client.get("/api/v1/baselines").json()
    (excluded,) = found["excluded"]
    assert (excluded["since_utc"], excluded["reason"]) == (begins, "a pallet fell")
    assert found["baseline"]["limits"]["center"] == pytest.approx(2.0, rel=0.15)
    assert found["baseline"]["limits"]["center"] == found["events"] / (found["inspected_s"] / 3600.0)


def test_what_changed_since_it_was_seen_is_not_approved(desk: DeskUnderTest) -> None:
    answer = approve(desk, "camera=cam01&period=hour&days=7", seen="0" * 32)
    assert answer.status_code == 409
    assert desk.client.get("/api/v1/baselines").json() == []


def test_few_points_give_no_limits_and_nothing_to_approve(desk: DeskUnderTest) -> None:
    shown = desk.client.get("/charts/baseline?camera=cam01&period=shift&days=3").text
    assert "limits need 20 or more" in shown
    assert "Approve these limits" not in shown


def test_another_model_and_changed_thresholds_are_said_beside_the_chart(line: Path, desk: DeskUnderTest) -> None:
    approve(desk, "camera=cam01&period=hour&days=7")
    with writing(line) as rows:
        since_s = ENDS_UTC - BEGAN_UTC + 60.0
        run = rows.run(since_s, since_s + 3600.0)
        rows.insert(
            "cameras",
            run=run,
            name="cam01",
            station="line 1",
            recipe="",
            url="",
            since_utc=BEGAN_UTC + since_s,
            settings=json.dumps({"reject_threshold": 0.7, "warn_threshold": 0.3}),
        )
        with transaction(rows.connection):
            rows.connection.execute(
                "UPDATE runs SET model_name = 'pcb2', model_sha256 = ? WHERE run = ?", ("2" * 64, run)
            )
    (one,) = charts(desk, camera="cam01", period="hour")["charts"]
    assert one["baseline"]["changes"] == [
        "another model inspects: pcb2 (222222222222), then it was pcb (111111111111)",
        "cam01: reject_threshold is 0.7, then it was 0.5",
    ]
    assert "Since this baseline, another model inspects" in desk.client.get("/charts?camera=cam01&period=hour").text


def test_without_limits_there_is_no_baseline_to_make_and_no_alarm_to_expect(desk: DeskUnderTest) -> None:
    """A day of shifts has too few points."""
    shown = desk.client.get("/charts?camera=cam01&period=shift&days=1").text
    assert "No chart:" in shown
    assert "No test is made" in shown
    assert "times a week" not in shown
    assert "new-baseline" not in shown
    assert "new-baseline" in desk.client.get("/charts?camera=cam01&period=hour").text


@pytest.mark.parametrize("role", [Role.READER, Role.REVIEWER])
def test_only_the_role_quality_may_approve(line: Path, role: Role) -> None:
    with desk_over(line) as desk:
        desk.accounts.add("vera", role, PASSWORD, by="test")
        desk.sign_in_as("vera", PASSWORD)
        assert desk.client.get("/charts?camera=cam01").status_code == 200
        assert "new-baseline" not in desk.client.get("/charts?camera=cam01").text
        assert desk.client.get("/charts/baseline?camera=cam01").status_code == 403
        for path in ("/charts/baseline", "/charts/baseline/withdraw"):
            answer = desk.client.post(f"{path}?camera=cam01", data={"reason": "x", "seen": "x"}, headers=ORIGIN)
            assert answer.status_code == 403


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("camera=a&station=b", "not both"),
        ("test=9", "Nelson"),
        ("period=year", "expected hour, shift or day"),
        ("period=hour&days=200", "at most 1500 points"),
        ("since=2025-01-01&until=2024-01-01", "ends after it begins"),
    ],
)
def test_what_makes_no_sense_is_refused(desk: DeskUnderTest, asked: str, said: str) -> None:
    answer = desk.client.get(f"/api/v1/charts?{asked}")
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_other_tests_are_a_choice_and_cost_more_false_alarms(desk: DeskUnderTest) -> None:
    usual = charts(desk, camera="cam01")["false_alarms_a_week"]
    every = desk.client.get("/api/v1/charts?camera=cam01&" + "&".join(f"test={n}" for n in range(1, 9))).json()
    assert every["charts"][0]["chart"]["tests"] == list(range(1, 9))
    assert every["false_alarms_a_week"] > 2 * usual


def test_names_from_the_records_are_text_and_never_markup(line: Path, desk: DeskUnderTest) -> None:
    with writing(line) as rows, transaction(rows.connection):
        rows.connection.execute("""UPDATE cameras SET station = '"><script>alert(1)</script>'""")
    assert "<script>alert" not in desk.client.get("/charts").text


def test_cameras_without_a_station_are_named_beside_the_charts(tmp_path: Path) -> None:
    """Their events would be missing without a word."""
    made_line(tmp_path, ChartLine(2, {"cam01": "line 1", "cam02": ""}))
    with desk_over(tmp_path) as desk:
        desk.sign_in()
        assert charts(desk)["left_out"] == ["cam02"]
        assert charts(desk, together=1)["left_out"] == []
        assert "in no chart of a station: cam02." in desk.client.get("/charts").text
        assert "in no chart of a station" not in desk.client.get("/charts", params={"station": "line 1"}).text


def test_the_page_says_which_records_were_removed(desk: DeskUnderTest, line: Path) -> None:
    prune(line, 4, 0, ENDS_UTC, dry_run=False)
    shown = charts(desk, station="line 1", period="day")
    series, known_utc = shown["charts"][0]["series"], shown["known_since_utc"]
    assert ENDS_UTC - 6 * DAY_S < known_utc < ENDS_UTC - 4 * DAY_S
    of_days = zip(series["periods"], series["inspected_s"], strict=True)
    assert all(
        (seconds > 0) == (day["until_utc"] > known_utc) for day, seconds in of_days if day["until_utc"] <= ENDS_UTC
    )
    page = desk.client.get("/charts", params={"station": "line 1", "period": "day"}).text
    assert "were removed to keep them small: that time has no points." in page
