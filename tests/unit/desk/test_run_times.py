# SPDX-License-Identifier: AGPL-3.0-or-later
"""Records of a clock that was wrong: the desk opens at now, and a run whose clock was set back lies in its time."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords

from vision_line.desk.local_time import ChosenTime
from vision_line.desk.report.identity import read_cameras, read_runs
from vision_line.desk.run_times import newest_utc
from vision_line.records.schema import open_reader

YEAR_S = 365 * 86_400.0
AHEAD = "later than this machine's clock shows"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> float:
    """Return what this machine's clock shows: an hour after the records began."""
    now_utc = BEGAN_UTC + 3600.0
    monkeypatch.setattr(time, "time", lambda: now_utc)
    return now_utc


def opened(client: TestClient) -> ChosenTime:
    """Return the time with which the first page opens."""
    return ChosenTime(**client.get("/api/v1/coverage").json()["time"])


def test_after_a_run_whose_clock_was_ahead_the_desk_opens_where_now_is(
    rows: DeskRecords, client: TestClient, now: float
) -> None:
    """And says that there are later records."""
    rows.run(YEAR_S, YEAR_S + 600, "cam01")
    rows.run(0, 600, "cam01")
    assert opened(client).since_utc < BEGAN_UTC + 600 <= opened(client).until_utc < now + 86_400
    assert AHEAD in client.get("/").text
    assert AHEAD not in client.get("/?day=2027-11-28").text


def test_a_run_that_goes_on_with_its_clock_ahead_is_shown_up_to_now(rows: DeskRecords, now: float) -> None:
    rows.run(0, YEAR_S, "cam01")
    assert newest_utc(rows.connection) == now


@pytest.mark.usefixtures("now")
def test_where_all_is_from_the_future_it_is_shown(rows: DeskRecords, client: TestClient) -> None:
    """A machine whose own clock is wrong: there is nothing else."""
    rows.run(YEAR_S, YEAR_S + 600, "cam01")
    assert newest_utc(rows.connection) == BEGAN_UTC + YEAR_S + 600
    assert AHEAD not in client.get("/").text


@pytest.mark.usefixtures("now")
def test_without_such_a_run_nothing_is_said(rows: DeskRecords, client: TestClient) -> None:
    rows.run(0, 600, "cam01")
    assert AHEAD not in client.get("/").text


@pytest.mark.usefixtures("now")
def test_a_run_whose_clock_was_set_back_lies_in_its_time(rows: DeskRecords, client: TestClient) -> None:
    """It began a year ahead, for 300 s, and went on for as long after its clock had been set."""
    run = rows.run(YEAR_S, 600, "cam01")
    ahead_utc, set_utc = BEGAN_UTC + YEAR_S + 300, BEGAN_UTC + 300
    rows.insert("clock_steps", run=run, clock=1, at_s=300.0, from_utc=ahead_utc, to_utc=set_utc)
    rows.minute(run, "cam01", 480, 60)
    its_time = ChosenTime(BEGAN_UTC, BEGAN_UTC + 600)

    with closing(open_reader(rows.directory)) as reader:
        (found,) = read_runs(reader, its_time)
        assert (found.started_utc, found.known_utc) == (BEGAN_UTC, BEGAN_UTC + 600)
        assert [one.since_utc for one in read_cameras(reader, its_time)] == [BEGAN_UTC]
        assert not read_runs(reader, ChosenTime(BEGAN_UTC + 86_400, BEGAN_UTC + YEAR_S))
    assert opened(client).since_utc <= BEGAN_UTC < opened(client).until_utc
    (camera,) = client.get("/api/v1/coverage").json()["cameras"]
    assert camera["time"]["camera"] == "cam01"
    assert camera["time"]["covered"]["due_s"] == pytest.approx(600.0)
