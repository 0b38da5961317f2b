# SPDX-License-Identifier: AGPL-3.0-or-later
"""Parts, decided by the process of the lanes over real sockets and a real file; the line beside it is on a bench."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.bench_line import LANE, OPTICAL, BenchLine, running_lanes, running_line
from tests.fakes.feeds import FACTS
from tests.fakes.waiting import WAIT_S, wait_for

from vision_line.errors import ConfigError, RunError
from vision_line.feed.protocol import Header
from vision_line.frames import CameraState
from vision_line.lanes import deciding
from vision_line.lanes.lanes_client import LanesClient
from vision_line.parts.orders import Asked, ask_lot, ask_recipe
from vision_line.parts.parts_file import FILE_NAME


def lane_of(client: LanesClient) -> Header:
    """Return how the only lane is; while it becomes another one there is none."""
    (lane,) = wait_for(lambda: client.status()["lanes"], "a lane")
    assert isinstance(lane, dict)
    return lane


def decision_of(client: LanesClient) -> Header:
    decision = client.next_decision(WAIT_S)
    assert decision is not None
    return decision


def rows(directory: Path, columns: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        return connection.execute(f"SELECT {columns} FROM parts ORDER BY number").fetchall()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[BenchLine]:
    with running_line(tmp_path) as bench:
        yield bench


@pytest.fixture
def client(line: BenchLine, tmp_path: Path) -> Iterator[LanesClient]:
    """Lanes that have the line, with a client that follows all decisions."""
    with running_lanes(tmp_path), LanesClient(tmp_path) as client:
        wait_for(lambda: not lane_of(client)["fault"], "the lane has its line")
        client.follow()
        yield client


def test_a_good_part_is_recorded_and_then_accepted(client: LanesClient, tmp_path: Path) -> None:
    ask_lot(tmp_path, "L-7", Asked("anna", "command"))
    wait_for(lambda: lane_of(client)["lot"] == "L-7", "the lot is followed")
    assert client.part("l1", part_id="B-1", number=17) == 1
    decision = decision_of(client)

    assert (decision["verdict"], decision["cause"], decision["part_id"], decision["number"]) == (
        "accept",
        "",
        "B-1",
        17,
    )
    assert decision["decided_s"] < decision["deadline_s"]
    assert rows(tmp_path, "lane, sequence, part_id, lot, verdict, cause") == [("l1", 1, "B-1", "L-7", "accept", "")]


def test_a_defect_rejects_its_part_and_no_other(client: LanesClient, line: BenchLine, tmp_path: Path) -> None:
    client.part("l1")
    line.reject()
    first = decision_of(client)
    time.sleep(0.3)
    client.part("l1")
    second = decision_of(client)

    assert (first["sequence"], first["verdict"], first["class"], first["score"]) == (1, "reject", "spur", 0.95)
    assert (second["sequence"], second["verdict"]) == (2, "accept")
    wait_for(lambda: len(rows(tmp_path, "number")) == 2, "both are recorded")
    status = client.status()
    assert (status["lanes"][0]["parts"], status["lanes"][0]["rejects"]) == (2, 1)


def test_a_defect_rejects_its_part_at_once(line: BenchLine, tmp_path: Path) -> None:
    with (
        running_lanes(tmp_path, LANE.replace("[0, 200]", "[0, 60000]").replace("1500", "90000")),
        LanesClient(tmp_path) as client,
    ):
        wait_for(lambda: not lane_of(client)["fault"], "the lane has its line")
        client.follow()
        client.part("l1")
        line.reject()
        decision = decision_of(client)
    assert decision["verdict"] == "reject"
    assert decision["decided_s"] - decision["triggered_s"] < 60.0


def test_an_event_that_began_before_the_lanes_rejects_the_parts_that_show_it(line: BenchLine, tmp_path: Path) -> None:
    """The run says nothing new of it, and its boxes are of another class by now."""
    line.shows()
    with running_lanes(tmp_path), LanesClient(tmp_path) as client:
        wait_for(lambda: not lane_of(client)["fault"], "the lane has its line")
        client.follow()
        client.part("l1")
        assert decision_of(client)["verdict"] == "reject"


def test_moments_that_are_none_harm_no_encoder(client: LanesClient) -> None:
    with pytest.raises(ConfigError, match="monotonic"):
        client.encoder("l1", 5, at_s=1e15)


def test_a_line_that_goes_is_shown_at_once(client: LanesClient, line: BenchLine, tmp_path: Path) -> None:
    client.part("l1")
    line.close()
    decision = decision_of(client)

    assert (decision["verdict"], decision["cause"]) == ("not_inspected", "line_away")
    assert not client.status()["is_line_well"]
    client.part("l1")
    assert decision_of(client)["cause"] == "line_away"
    wait_for(lambda: rows(tmp_path, "run_id") == [(FACTS.run,), ("",)], "each is of the run that was there")


def test_a_line_that_is_silent_accepts_nothing(client: LanesClient, line: BenchLine) -> None:
    """Its camera shows nothing any more, and its feed beats on."""
    line.is_silent = True
    client.part("l1")
    decision = decision_of(client)
    assert (decision["verdict"], decision["cause"]) == ("not_inspected", "camera")
    assert "cam01" in lane_of(client)["fault"]


@pytest.mark.parametrize(
    ("what", "cause"), [("log_reason", "log"), ("not_accepted", "challenge"), ("not_inspected", "camera")]
)
def test_what_the_line_says_stops_acceptance(client: LanesClient, line: BenchLine, what: str, cause: str) -> None:
    setattr(line, what, "because")
    wait_for(lambda: lane_of(client)["fault"].endswith("because"), "it is told")
    client.part("l1")
    assert decision_of(client)["cause"] == cause
    setattr(line, what, "")
    wait_for(lambda: not lane_of(client)["fault"], "it is over")


def test_a_camera_in_the_dark_accepts_nothing(client: LanesClient, line: BenchLine) -> None:
    """It is inspected, and nothing is found: no part is seen either."""
    line.state = CameraState.DEGRADED
    wait_for(lambda: "DEGRADED" in lane_of(client)["fault"], "it is told")
    client.part("l1")
    decision = decision_of(client)
    assert (decision["verdict"], decision["cause"]) == ("not_inspected", "camera")
    line.state = CameraState.RUNNING
    wait_for(lambda: not lane_of(client)["fault"], "it is over")


def test_a_part_that_began_to_pass_in_the_dark_is_not_accepted_in_the_light(line: BenchLine, tmp_path: Path) -> None:
    lane = LANE.replace("ejector_ms = 1500", "ejector_ms = 20000").replace("[0, 200]", "[0, 1500]")
    with running_lanes(tmp_path, lane), LanesClient(tmp_path) as client:
        line.state = CameraState.DEGRADED
        wait_for(lambda: "DEGRADED" in lane_of(client)["fault"], "it is told")
        client.follow()
        client.part("l1")
        line.state = CameraState.RUNNING
        assert decision_of(client)["verdict"] == "not_inspected"


def test_a_part_that_cannot_be_recorded_in_time_is_not_accepted(client: LanesClient, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        client.part("l1")
        decision = decision_of(client)
        other.execute("ROLLBACK")

    assert (decision["verdict"], decision["cause"]) == ("not_inspected", "log")
    wait_for(lambda: rows(tmp_path, "corrected IS NOT NULL") == [(1,)], "the entry is corrected")
    assert lane_of(client)["not_inspected"] == 1


def test_a_machine_that_sleeps_while_an_acceptance_waits_for_the_disk_accepts_nothing(
    line: BenchLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_lanes(tmp_path, LANE.replace("1500", "30000")), LanesClient(tmp_path) as client:
        wait_for(lambda: not lane_of(client)["fault"], "the lane has its line")
        client.follow()
        with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            client.part("l1")
            wait_for(lambda: lane_of(client)["parts"] == 1, "it is decided, and not on the disk")
            monkeypatch.setattr(deciding, "asleep_s", lambda: 1e9)
            wait_for(lambda: "slept" in str(client.status()["alarms"]), "the sleep is noticed")
            other.execute("ROLLBACK")
        decision = decision_of(client)
        assert (decision["verdict"], decision["cause"]) == ("not_inspected", "late")
        assert lane_of(client)["not_inspected"] == 1


def test_frames_of_another_recipe_than_is_asked_for(client: LanesClient, tmp_path: Path) -> None:
    ask_recipe(tmp_path, "7", Asked("anna", "command"))
    wait_for(lambda: lane_of(client)["recipe"] == "7", "the recipe is followed")
    wait_for(lambda: lane_of(client)["cause"] == "recipe", "no camera can be inspected by it")
    client.part("l1")
    assert decision_of(client)["cause"] == "recipe"


def test_a_lane_that_is_off(client: LanesClient) -> None:
    client.enable("l1", is_enabled=False)
    client.part("l1")
    assert decision_of(client)["cause"] == "lane_off"


def test_what_is_wrong_is_refused_and_the_connection_stays(client: LanesClient) -> None:
    with pytest.raises(ConfigError, match="expected one of l1"):
        client.part("l2")
    with pytest.raises(ConfigError, match="printable"):
        client.part("l1", part_id="a\nb")
    with pytest.raises(ConfigError, match="monotonic"):
        client.part("l1", at_s=time.time())
    assert client.part("l1") == 1


def test_a_changed_file_is_followed(line: BenchLine, tmp_path: Path) -> None:
    with running_lanes(tmp_path) as streams, LanesClient(tmp_path) as client:
        client.part("l1")
        streams.write_text(LANE.replace('"l1"', '"l2"'), encoding="utf-8")
        wait_for(lambda: lane_of(client)["name"] == "l2", "the lane is another one")
        client.follow()
        wait_for(lambda: not lane_of(client)["fault"], "it has its line")
        client.part("l2")
        assert decision_of(client)["verdict"] == "accept"
    assert [row[0] for row in rows(tmp_path, "lane")] == ["l1", "l2"]


def test_a_changed_lane_goes_on_behind_what_is_not_recorded_yet(line: BenchLine, tmp_path: Path) -> None:
    with running_lanes(tmp_path) as streams, LanesClient(tmp_path) as client:
        client.enable("l1", is_enabled=False)
        wait_for(lambda: not lane_of(client)["is_enabled"], "the lane is off")
        client.enable("l1", is_enabled=True)
        client.part("l1")
        client.part("l1")
        with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            streams.write_text(LANE.replace("1500", "1400"), encoding="utf-8")
            wait_for(lambda: lane_of(client)["parts"] == 0, "the lane is another one")
            assert client.part("l1") == 3
            other.execute("ROLLBACK")
        wait_for(lambda: len(rows(tmp_path, "number")) == 3, "all are recorded")
        assert not client.status()["recording_problem"]


def test_a_lane_that_is_off_stays_off_when_it_is_changed(line: BenchLine, tmp_path: Path) -> None:
    with running_lanes(tmp_path) as streams, LanesClient(tmp_path) as client:
        client.enable("l1", is_enabled=False)
        streams.write_text(LANE.replace("1500", "1400"), encoding="utf-8")
        client.follow()
        client.part("l1")
        assert decision_of(client)["cause"] in {"restart", "lane_off"}
        client.part("l1", at_s=time.monotonic() + 0.5)  # far enough behind the one before
        assert decision_of(client)["cause"] == "lane_off"


def test_a_lane_that_is_off_stays_off_when_the_process_begins_anew(line: BenchLine, tmp_path: Path) -> None:
    """Who switched it off does not ask again."""
    for is_enabled, word in ((False, True), (None, False), (True, False), (None, True)):
        with running_lanes(tmp_path), LanesClient(tmp_path) as client:
            assert lane_of(client)["is_enabled"] is word
            if is_enabled is not None:
                client.enable("l1", is_enabled=is_enabled)


def test_numbers_go_on_over_restarts_and_what_nobody_saw_is_entered(line: BenchLine, tmp_path: Path) -> None:
    for number in (17, 20):
        with running_lanes(tmp_path), LanesClient(tmp_path) as client:
            wait_for(lambda: not lane_of(client)["fault"], "the lane has its line")
            client.part("l1", number=number)
    found = rows(tmp_path, "sequence, verdict, cause")
    assert found == [(number, "not_inspected", "restart") for number in (1, 2, 3, 4)]


def test_without_lanes_a_client_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no vision-line lanes runs there"):
        LanesClient(tmp_path)


def test_what_a_camera_sees_cross_is_a_part(line: BenchLine, tmp_path: Path) -> None:
    text = LANE.replace("[0, 200]", "[-150, 50]") + OPTICAL
    with running_lanes(tmp_path, text), LanesClient(tmp_path) as client:
        wait_for(lambda: not lane_of(client)["fault"], "the lane has its line")
        client.follow()
        time.sleep(0.3)  # windows begin before the crossing
        middle_s = line.passes()
        decision = decision_of(client)
        assert (decision["sequence"], decision["verdict"], decision["number"]) == (1, "accept", None)
        assert decision["triggered_s"] == pytest.approx(middle_s, abs=0.005)
        line.passes()
        line.passes()
        assert {decision_of(client)["cause"] for _ in range(2)} == {"overlap"}
        with pytest.raises(ConfigError, match="l1 sees its parts itself"):
            client.part("l1")
    assert len(rows(tmp_path, "sequence")) == 3


def test_parts_of_a_class_that_the_model_lacks_are_a_fault(line: BenchLine, tmp_path: Path) -> None:
    with running_lanes(tmp_path, LANE + OPTICAL.replace("spur", "bottle")), LanesClient(tmp_path) as client:
        wait_for(lambda: lane_of(client)["cause"] == "crossing", "the lane says so")
        assert "the run's model has no class bottle" in str(lane_of(client)["fault"])


def test_parts_that_nobody_saw_cross_are_entered(line: BenchLine, tmp_path: Path) -> None:
    with running_lanes(tmp_path, LANE + OPTICAL), LanesClient(tmp_path) as client:
        wait_for(lambda: not lane_of(client)["fault"], "the lane has its line")
        client.follow()
        line.is_silent = True
        time.sleep(1.2)  # longer than a part is in view
        line.is_silent = False
        decision = decision_of(client)
        assert (decision["verdict"], decision["cause"]) == ("not_inspected", "gap")
