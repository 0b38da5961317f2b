# SPDX-License-Identifier: AGPL-3.0-or-later
"""Charts of parts by their pages: what is drawn, what is said beside it, who may approve, and what stays."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.chart_parts import BEGAN_UTC, HOUR_S, HourOfParts, pass_hours, total, usual_hours
from tests.fakes.desk import ORIGIN, DeskUnderTest, desk_over
from tests.fakes.desk_records import BEGAN_UTC as RECORDS_UTC
from tests.fakes.desk_records import writing
from tests.fakes.passed_parts import make_part

from vision_line.desk.inspected.watched_baselines import read_watched_baselines
from vision_line.desk.users.sessions import Role
from vision_line.parts.part import PartVerdict
from vision_line.parts.part_entries import add_correction, add_part, last_sequence
from vision_line.parts.part_export import export_parts
from vision_line.parts.parts_file import writing as writing_parts
from vision_line.parts.parts_removal import remove_parts
from vision_line.records.columns import Table
from vision_line.records.query import Selection
from vision_line.records.schema import transaction
from vision_line.records.table_export import Format

PASSWORD = "correct horse battery"  # noqa: S105 - nobody's
HOURS = usual_hours(30)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return records of two lanes over 30 hours: a with 60 inspected parts an hour, b with 3 a hour."""
    directory = tmp_path_factory.mktemp("made")
    with writing(directory) as rows:
        begins_s = BEGAN_UTC - RECORDS_UTC
        rows.run(begins_s, begins_s + 40 * HOUR_S, "cam01", "cam02")
    pass_hours(directory, [HourOfParts(hour, 3, 1) for hour in range(4)], lane="b")
    pass_hours(directory, HOURS)
    return directory


@pytest.fixture
def line(made: Path, tmp_path: Path) -> Path:
    """Return a copy of them."""
    for file in made.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def desk(line: Path) -> Iterator[DeskUnderTest]:
    with desk_over(line) as found:
        found.sign_in()
        yield found


def charts(desk: DeskUnderTest, **asked: str | int) -> Any:
    answer = desk.client.get("/api/v1/part-charts", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def chart_of_a(desk: DeskUnderTest, **asked: str | int) -> Any:
    (one,) = charts(desk, lane="a", **asked)["charts"]
    return one


def shown(desk: DeskUnderTest, asked: str = "lane=a") -> str:
    answer = desk.client.get(f"/charts/parts?{asked}")
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def approve(desk: DeskUnderTest, asked: str, **more: str) -> Any:
    """Approve what the page of phase I shows, as its form does."""
    page = desk.client.get(f"/charts/parts/baseline?{asked}").text
    form = re.search(r'<form class="fields" method="post" action="([^"]*)">(.*?)</form>', page, re.S)
    assert form is not None, page
    pairs = re.findall(r'name="(\w+)" value="([^"]*)"', form[2])
    body = {name: [html.unescape(value) for key, value in pairs if key == name] for name, _ in pairs} | more
    return desk.client.post(html.unescape(form[1]), data=body, headers=ORIGIN, follow_redirects=False)


def withdraw(desk: DeskUnderTest, reason: str) -> Any:
    address = "/charts/parts/baseline/withdraw?lane=a&period=hour"
    return desk.client.post(address, data={"reason": reason}, headers=ORIGIN, follow_redirects=False)


def test_each_lane_has_its_chart_its_yield_and_what_was_not_inspected(desk: DeskUnderTest) -> None:
    found = charts(desk)
    assert [one["scope"]["lane"] for one in found["charts"]] == ["a", "b"]
    sums, page = total(HOURS), shown(desk, "")
    good, inspected = sums["inspected"] - sums["rejected"], sums["inspected"]
    assert f"{sums['rejected']} of {inspected} inspected parts rejected; yield {good / inspected:.2%}"[:-4] in page
    everything = inspected + sums["not_inspected"]
    assert f"{sums['not_inspected']} of {everything} parts" in page
    assert "they are in no share and no yield" in page
    assert "All 12 parts were inspected" in page
    assert "No chart of rejected parts: 4 points; limits need 20 or more" in page
    assert "Limits from this data, not approved" in page


def test_page_json_table_and_export_have_the_same_figures(line: Path, desk: DeskUnderTest) -> None:
    """Parts to the last one, shares to the last digit."""
    one = chart_of_a(desk)
    table = list(csv.DictReader(io.StringIO(desk.client.get("/charts/parts/points.csv?lane=a").text.lstrip("\ufeff"))))
    page = shown(desk)
    output = line / "parts.jsonl"
    export_parts(line, Table.PARTS, Format.JSONL, Selection(), output)
    rows = [json.loads(text) for text in output.read_text(encoding="utf-8").splitlines()]
    verdicts = [row["verdict"] for row in rows if row["lane"] == "a"]
    points = {point["since_utc"]: point for point in one["chart"]["points"]}
    assert sum(int(row["inspected"]) for row in table) == len(verdicts) - verdicts.count("not_inspected")
    assert sum(int(row["rejected"]) for row in table) == verdicts.count("reject")
    assert sum(int(row["not_inspected"]) for row in table) == verdicts.count("not_inspected")
    kept = [row for row in table if row["rejected_share"]]
    assert len(kept) == len(points) == 30
    for row, point, yielded in zip(kept, points.values(), one["yields"], strict=True):
        assert point["value"] == float(row["rejected_share"]) == int(row["rejected"]) / int(row["inspected"])
        assert (point["lower"], point["upper"]) == (float(row["lower"]), float(row["upper"]))
        assert (yielded["value"], yielded["lower"]) == (float(row["yield"]), float(row["yield_low"]))
        assert f"{row['rejected']} of {row['inspected']} inspected parts rejected, {100 * point['value']:.3f} %" in page
        assert f"exact 95 % limits {100 * yielded['lower']:.3f} to {100 * yielded['upper']:.3f} %" in page


def test_a_bad_hour_is_called_and_leads_to_its_parts(line: Path, desk: DeskUnderTest) -> None:
    pass_hours(line, [HourOfParts(30, 60, 25)])
    called = [point for point in chart_of_a(desk)["chart"]["points"] if 1 in point["tests"]]
    assert [point["since_utc"] for point in called] == [BEGAN_UTC + 30 * HOUR_S]
    page = shown(desk)
    assert "test 1, a point beyond 3 sigma, above the mean" in page
    (link,) = re.findall(r'warn-line">◎ <a href="([^"]+)">2025-11-29 06:00</a>: test 1', page)
    found = desk.client.get(f"/api/v1{html.unescape(link)}").json()["parts"]
    assert len(found) == 60
    assert {part["lane"] for part in found} == {"a"}


def test_an_hour_of_which_nothing_was_inspected_has_no_point_and_says_so(line: Path, desk: DeskUnderTest) -> None:
    pass_hours(line, [HourOfParts(30, 0, 0, not_inspected=7)])
    one = chart_of_a(desk)
    assert len(one["chart"]["points"]) == len(one["yields"]) == 30
    (gap,) = one["chart"]["without"]
    assert gap["not_inspected"] == 7
    page = shown(desk)
    assert "no point, because none of 7 parts was inspected" in page
    assert "7 of 7 parts not inspected</title>" in page


def test_an_approved_baseline_freezes_the_limits(line: Path, desk: DeskUnderTest) -> None:
    answer = approve(desk, "lane=a&period=hour")
    assert (answer.status_code, answer.headers["location"]) == (303, "/charts/parts?lane=a&period=hour")
    before = chart_of_a(desk)
    pass_hours(line, [HourOfParts(30, 60, 25)])
    after = chart_of_a(desk)
    assert after["chart"]["limits"] == before["chart"]["limits"] == before["baseline"]["approved"]["baseline"]["limits"]
    (approved,) = desk.client.get("/api/v1/part-baselines").json()
    assert approved["baseline"]["limits"]["center"] == approved["rejected"] / approved["inspected"]
    assert approved["not_inspected"] > 0
    page = shown(desk)
    assert "owner approved them on" in page
    assert "Limits from this data" not in page
    assert withdraw(desk, " ").status_code == 400
    assert withdraw(desk, "a new lamp").status_code == 303
    page = shown(desk)
    assert "Limits from this data, not approved" in page
    assert "owner withdrew it: a new lamp" in page
    assert withdraw(desk, "again").status_code == 409


def test_what_is_excluded_needs_a_reason_and_is_entered_with_it(line: Path, desk: DeskUnderTest) -> None:
    pass_hours(line, [HourOfParts(30, 60, 25), HourOfParts(31, 60, 3), HourOfParts(32, 60, 3)])
    begins = BEGAN_UTC + 30 * HOUR_S
    assert "2025-11-29 06:00, 25 of 60 parts" in desk.client.get("/charts/parts/baseline?lane=a").text
    without = f"lane=a&excluded={begins}&reason=a+pallet+fell"
    assert "(excluded)" in desk.client.get(f"/charts/parts/baseline?{without}").text
    assert desk.client.get(f"/charts/parts/baseline?lane=a&also={begins}&also_reason=").status_code == 400
    assert desk.client.get("/charts/parts/baseline?lane=a&excluded=1.5&reason=none").status_code == 400
    assert approve(desk, without).status_code == 303
    (found,) = desk.client.get("/api/v1/part-baselines").json()
    assert [(one["since_utc"], one["reason"]) for one in found["excluded"]] == [(begins, "a pallet fell")]
    assert found["baseline"]["limits"]["center"] < 0.08


def test_the_hour_that_goes_on_is_in_no_baseline(line: Path, desk: DeskUnderTest) -> None:
    """The newest part may not be the last of its hour."""
    approve(desk, "lane=a")
    (found,) = desk.client.get("/api/v1/part-baselines").json()
    assert found["inspected"] == total(HOURS[:29])["inspected"]
    assert found["baseline"]["last_utc"] == BEGAN_UTC + 29 * HOUR_S


def test_what_changed_since_it_was_seen_is_not_approved(desk: DeskUnderTest) -> None:
    assert approve(desk, "lane=a", seen="0" * 32).status_code == 409
    assert desk.client.get("/api/v1/part-baselines").json() == []


def test_changed_settings_of_the_lanes_cameras_are_said_beside_the_chart(line: Path, desk: DeskUnderTest) -> None:
    approve(desk, "lane=a")
    with writing(line) as rows:
        since_s = BEGAN_UTC - RECORDS_UTC + 31 * HOUR_S
        run = rows.run(since_s, since_s + HOUR_S, "cam02", "cam09")
        settings = json.dumps({"reject_threshold": 0.7})
        values = {"station": "line 1", "recipe": "", "url": "", "since_utc": RECORDS_UTC + since_s}
        rows.insert("cameras", run=run, name="cam01", settings=settings, **values)
        with transaction(rows.connection):
            rows.connection.execute(
                "UPDATE runs SET model_name = 'pcb2', model_sha256 = ? WHERE run = ?", ("2" * 64, run)
            )
    assert chart_of_a(desk)["baseline"]["changes"] == [
        "another model inspects: pcb2 (222222222222), then it was pcb (111111111111)",
        "cam01: reject_threshold is 0.7, then it was 0.5",
    ]
    assert "Since this baseline, another model inspects" in shown(desk)


def test_a_lane_that_rejects_none_of_so_many_is_called_everywhere(line: Path, desk: DeskUnderTest) -> None:
    """On its page, on the first page and in the JSON; parts that were not inspected are no silence."""
    approve(desk, "lane=a")
    pass_hours(line, [HourOfParts(hour, 0, 0, not_inspected=60) for hour in range(30, 34)])
    assert not desk.client.get("/api/v1/part-silences").json()["watched"][0]["is_called"]
    pass_hours(line, [HourOfParts(hour, 60, 0) for hour in range(34, 37)])
    watch = desk.client.get("/api/v1/part-silences").json()
    (one,) = watch["watched"]
    assert one["is_called"]
    assert one["inspected"] == 60 - HOURS[29].rejected + 180
    assert one["shortage"]["expected"] == one["share"] * one["inspected"]
    assert 0 < watch["false_a_month"] == one["false_a_month"]
    (known,) = read_watched_baselines(line)
    assert (known.name, known.expected, known.is_silent) == (one["name"], one["shortage"]["expected"], True)
    for page in ("/", "/charts/parts"):
        assert "Suspiciously low: lane a, all recipes rejected none of" in desk.client.get(page).text
    assert "● Every camera of the run is inspected now" not in desk.client.get("/").text


def test_a_point_may_be_a_lot_and_the_one_that_is_made_is_in_no_baseline(line: Path, desk: DeskUnderTest) -> None:
    lots = [HourOfParts(30 + n, 40, 1 + n % 4, not_inspected=n % 2, lot=f"L-{n}") for n in range(23)]
    pass_hours(line, [*lots, HourOfParts(53, 40, 2, lot="L-3")])  # interrupted: one point of all its parts
    one = chart_of_a(desk, period="lot")
    points = {point["name"]: point for point in one["chart"]["points"]}
    assert len(points) == 23
    assert (points["lot L-3"]["inspected"], points["lot L-3"]["rejected"]) == (80, 6)
    assert points["lot L-1"]["not_inspected"] == 1
    page = shown(desk, "lane=a&period=lot")
    assert "lot L-1: 2 of 40 inspected parts rejected" in page
    phase_one = desk.client.get("/charts/parts/baseline?lane=a&period=lot").text
    assert "lot L-2<" in phase_one
    assert "lot L-3<" not in phase_one
    assert approve(desk, "lane=a&period=lot").status_code == 303
    assert chart_of_a(desk, period="lot")["baseline"]["approved"]["scope"]["period"] == "lot"


def test_lot_and_recipe_choose_parts(line: Path, desk: DeskUnderTest) -> None:
    pass_hours(
        line, [HourOfParts(30, 40, 9, lot="L-1", recipe="big"), HourOfParts(31, 40, 1, lot="L-2", recipe="small")]
    )
    of_lot, of_recipe = chart_of_a(desk, lot="L-1"), chart_of_a(desk, recipe="small")
    assert [point["good"] for point in of_lot["yields"]] == [31]
    assert [point["good"] for point in of_recipe["yields"]] == [39]
    assert "recipe small" in of_recipe["name"]
    page = shown(desk, "lane=a&lot=L-1")
    assert "all recipes, lot L-1" in page
    assert "new-baseline" not in page
    assert desk.client.get("/charts/parts/baseline?lane=a&lot=L-1").status_code == 400
    assert len(desk.client.get("/api/v1/parts?recipe=small").json()["parts"]) == 40


def test_a_part_that_was_found_defective_later_is_not_good(line: Path, desk: DeskUnderTest) -> None:
    with writing_parts(line) as connection:
        part = make_part(last_sequence(connection, "a") + 1, BEGAN_UTC + 30.5 * HOUR_S)
        add_correction(connection, part, add_part(connection, part), PartVerdict.REJECT, ["late"])
    last = chart_of_a(desk)["yields"][-1]
    assert (last["good"], last["inspected"], last["value"]) == (0, 1, 0.0)
    assert chart_of_a(desk)["chart"]["points"][-1]["rejected"] == 0


def test_removed_parts_are_said(line: Path, desk: DeskUnderTest) -> None:
    with writing_parts(line) as connection:
        remove_parts(connection, 100, "keep_days")
    assert "were removed for age: they are in no point" in shown(desk)
    assert charts(desk)["removed_until_utc"] > 0


@pytest.mark.parametrize("role", [Role.READER, Role.REVIEWER])
def test_only_the_role_quality_may_approve(line: Path, role: Role) -> None:
    with desk_over(line) as desk:
        desk.accounts.add("vera", role, PASSWORD, by="test")
        desk.sign_in_as("vera", PASSWORD)
        assert "new-baseline" not in shown(desk)
        assert desk.client.get("/charts/parts/baseline?lane=a").status_code == 403
        for path in ("/charts/parts/baseline", "/charts/parts/baseline/withdraw"):
            answer = desk.client.post(f"{path}?lane=a", data={"reason": "x", "seen": "x"}, headers=ORIGIN)
            assert answer.status_code == 403


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("test=9", "Nelson"),
        ("period=year", "expected hour, shift, day or lot"),
        ("period=hour&days=200", "at most 1500 points"),
        ("since=2025-01-01&until=2024-01-01", "ends after it begins"),
    ],
)
def test_what_makes_no_sense_is_refused(desk: DeskUnderTest, asked: str, said: str) -> None:
    answer = desk.client.get(f"/api/v1/part-charts?{asked}")
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_a_lane_that_never_was_has_no_chart_and_no_baseline(desk: DeskUnderTest) -> None:
    assert "No part passed in this time" in shown(desk, "lane=none")
    assert desk.client.get("/charts/parts/baseline?lane=none").status_code == 400
    assert desk.client.get("/charts/parts/baseline").status_code == 400
    assert desk.client.get("/charts/parts?lane=none&period=lot").status_code == 200


def test_names_are_text_and_never_markup(line: Path, desk: DeskUnderTest) -> None:
    """A lot and a recipe come from a PLC, or from whoever reaches the broker."""
    evil = "<script>alert(1)</script>\"'&"
    pass_hours(line, [HourOfParts(30, 3, 1, lot=evil, recipe=evil)])
    for asked in ("lane=a&period=lot", "lane=a", f"lane={evil}&lot={evil}&recipe={evil}"):
        assert "<script>alert" not in shown(desk, asked.replace("&'", "%26'"))
