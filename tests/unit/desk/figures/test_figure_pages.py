# SPDX-License-Identifier: AGPL-3.0-or-later
"""The page of what reviews show, its JSON, and the command that says the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk import desk_over
from tests.fakes.desk_records import BEGAN_UTC, writing
from tests.fakes.reviewed_records import answer, reviewed_records
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.desk.figures.figure_geometry import curve_geometry
from vision_line.desk.figures.periods import periods_of
from vision_line.desk.local_time import ChosenTime, PlantClock
from vision_line.quality import ThresholdEffect, shift_plan
from vision_line.reviews.figures.review_figures import ThresholdCurve
from vision_line.reviews.review_plan import AUDITS

TIME = "since=2026-11-28T20:00Z&until=2026-11-29T20:00Z"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Return records with three reviewed rejects, one of them none, and an audited frame."""
    with reviewed_records(tmp_path) as made:
        for n in range(3):
            item = made.event(n + 1, 100.0 + n, top_score=0.6 + n / 10)
            answer(tmp_path, item, "overruled" if n == 0 else "confirmed", stratum="reject")
        answer(tmp_path, made.audit(9, 300.0), stratum=AUDITS, inclusion=0.01, boxes=[])
        made.records.minute(made.run, "cam", 0, 90)
    return tmp_path


@pytest.fixture
def client(records: Path) -> Iterator[TestClient]:
    """Yield who is signed in."""
    with desk_over(records) as desk:
        desk.sign_in()
        yield desk.client


def test_the_page_says_what_reviews_show(client: TestClient) -> None:
    """Figures with their intervals, the matrix, a curve and the models; without a time the newest week."""
    for address in ("/figures", f"/figures?{TIME}"):
        shown = client.get(address).text
        assert "4 of 4 items reviewed by anna (4)" in shown
        assert "<b>66.7 %</b><span>precision" in shown
        assert "<b>100.0 %</b><span>recall" in shown
        assert "no item was reviewed by two people" in shown
        assert shown.count("<polyline") == 7  # the curve's three, its legend's three, and one model's


def test_what_is_refused_is_said(client: TestClient) -> None:
    """A time without anything."""
    shown = client.get("/figures?since=2026-11-27T20:00Z&until=2026-11-27T21:00Z").text

    assert "the line called nothing" in shown
    assert "without reviewed audits nothing is known about what was missed" in shown
    assert "No curve: no event was reviewed as the queue drew it." in shown


def test_what_was_removed_is_said(client: TestClient, records: Path) -> None:
    """On the page and by the command: figures of a part are none of the whole."""
    assert "were removed" not in client.get(f"/figures?{TIME}").text
    with writing(records) as rows:
        moments = {"from_utc": BEGAN_UTC, "to_utc": BEGAN_UTC + 150, "at_utc": BEGAN_UTC + 9000}
        rows.insert("removals", removed_from="events", rows=3, why="max_mb", **moments)
    options = ["reviews", "figures", f"--record={records}", "--since=2026-11-28T20:00Z", "--until=2026-11-29T20:00Z"]

    shown, said = client.get(f"/figures?{TIME}").text, CliRunner().invoke(cli, options).output

    assert "were removed to keep them small: that time is in no figure." in shown
    assert "records from before" in said
    assert "were removed: that time is in no figure" in said


def test_json_and_the_command_say_the_same(client: TestClient, records: Path) -> None:
    """To the last digit."""
    options = ["reviews", "figures", f"--record={records}", "--since=2026-11-28T20:00Z", "--until=2026-11-29T20:00Z"]
    said = CliRunner().invoke(cli, [*options, "--json"])
    words = CliRunner().invoke(cli, options)

    assert said.exit_code == words.exit_code == 0, said.output
    assert client.get(f"/api/v1/figures?{TIME}").json() == json.loads(said.output)
    assert "precision            66.7 % (66.7 to 66.7 %)" in words.output
    assert "agreement (kappa)    none: no item was reviewed by two people" in words.output


@pytest.mark.parametrize("option", ["--since=2030-01-01", "--since=yesterday"])
def test_a_time_that_is_none_is_refused(records: Path, option: str) -> None:
    """With what is wrong."""
    done = CliRunner().invoke(cli, ["reviews", "figures", f"--record={records}", option])

    assert done.exit_code == 2
    assert "--since" in done.output or "expected" in done.output


def test_periods_are_shifts_or_days_of_the_plant() -> None:
    """Also in the night in which clocks change: 23 h, and the night shift has 7. The last one ends with the time."""
    zone = ZoneInfo("Europe/Berlin")
    days = PlantClock(zone)
    begins = days.whole_day(date(2026, 3, 28)).since_utc
    time = ChosenTime(begins, begins + 3 * 86_400)

    assert [round((end - start) / 3600) for start, end in periods_of(time, days)] == [24, 23, 24, 1]
    shifts = PlantClock(zone, shift_plan("Europe/Berlin", ["06:00", "14:00", "22:00"]))
    assert [round((end - start) / 3600) for start, end in periods_of(time, shifts)][:6] == [6, 8, 8, 7, 8, 8]


def test_a_curve_lies_within_its_drawing() -> None:
    """Also of one threshold, and of nothing called."""
    (geometry,) = [curve_geometry(ThresholdCurve("", 0.5, [ThresholdEffect(0.5, 0, 0, 0)]))]

    assert geometry is not None
    assert geometry.true_calls == "44.0,176.0"
    assert curve_geometry(ThresholdCurve("no event was reviewed")) is None
