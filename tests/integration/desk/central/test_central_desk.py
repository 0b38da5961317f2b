# SPDX-License-Identifier: AGPL-3.0-or-later
"""One desk for all boxes: whose is what, what is not known, and what is left to the boxes."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

import psycopg
import pytest
from starlette.testclient import TestClient
from tests.fakes.central_desk import central_desk
from tests.fakes.central_shipping import ship_boxes
from tests.fakes.challenge_plans import challenged
from tests.fakes.desk import ORIGIN
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing
from tests.fakes.passed_parts import make_part

from vision_line.desk.central.box_addresses import BoxAddress
from vision_line.desk.recorded_clock import SHIFTS
from vision_line.desk.rendering import assets
from vision_line.parts.orders import Asked, ask_lot
from vision_line.parts.part_entries import add_part
from vision_line.parts.parts_file import writing as writing_parts
from vision_line.records.journal import Kind
from vision_line.records.schema import transaction

BOXES = {"hall-1": BoxAddress("hall-1", "https://hall-1.example:8443", "127.0.0.1", 9, is_tls=True, ca=None)}
NOW = "/?last=1h"


def line(rows: DeskRecords, name: str, *cameras: str) -> int:
    """Add a run that goes on now, since half an hour."""
    now_s = time.time() - BEGAN_UTC
    run = rows.run(now_s - 1800, None, *cameras, alive_s=now_s)
    with transaction(rows.connection):
        rows.connection.execute("UPDATE runs SET run_id = ? WHERE run = ?", (name, run))
    for camera in cameras:
        rows.state(run, camera, "RUNNING", now_s - 1790)
        for minute in range(1, 29):
            rows.minute(run, camera, (now_s - 60 * minute) // 60 * 60, 90)  # the clock read once: minutes end meanwhile
    return run


@pytest.fixture(scope="module")
def url(new_plant: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a database of three boxes: one that is well, one that fell silent, one with a dead camera."""
    made, now_s = new_plant(), time.time() - BEGAN_UTC
    directories = {name: tmp_path_factory.mktemp(name) for name in ("hall-1", "hall-2", "hall-3")}
    for name, directory in directories.items():
        with writing(directory) as rows:
            run = line(rows, name, "cam01", "cam02")
            number = rows.event(run, "cam01", now_s - 600, class_name=f"of-{name}")
            rows.images(number, name.encode())
            with transaction(rows.connection):
                rows.connection.journal.append(Kind.CONFIGURATION, "camera/cam01", {"after": {"url": "rtsp://a"}}, run)
            if name == "hall-3":
                rows.gap(run, "cam02", "camera:STALE", now_s - 90, None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vision_line.parts.orders.time", SimpleNamespace(time=lambda: BEGAN_UTC + now_s - 1200))
            ask_lot(directory, f"L-{name}", Asked("anna", "desk"))
        if name == "hall-1":
            challenged(directory, "cam01", BEGAN_UTC + now_s - 610, BEGAN_UTC + now_s - 590)
    ship_boxes(made, directories)
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute("UPDATE plant.nodes SET seen_utc = seen_utc - 720 WHERE node = 'hall-2'")
    return made


@pytest.fixture(scope="module")
def desk_of_all(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with central_desk(url, tmp_path_factory.mktemp("desk"), BOXES) as found:
        yield found


@pytest.fixture
def client(url: str, desk_of_all: TestClient) -> TestClient:
    with psycopg.connect(url, autocommit=True) as connection:  # the boxes go on, but for the silent one
        connection.execute("UPDATE plant.nodes SET seen_utc = extract(epoch FROM now()) WHERE node <> 'hall-2'")
        connection.execute(
            "UPDATE records.runs SET alive_utc = extract(epoch FROM now()) WHERE ended_utc IS NULL AND node <> 'hall-2'"
        )
    return desk_of_all


def words(client: TestClient, address: str) -> str:
    """Return a page's text."""
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text)))


def test_each_alarm_says_its_box(client: TestClient) -> None:
    found = words(client, NOW)
    assert "hall-3 cam02 not inspected" in found
    assert "hall-1 cam" not in found.partition("boxes, 6 cameras")[0]


def test_of_a_silent_box_nothing_is_claimed(client: TestClient) -> None:
    """Neither that its cameras are inspected, nor that they are not."""
    found = words(client, NOW)
    assert re.search(r"hall-2 has sent nothing for 1[23] min", found)
    assert "of which a part of this time is not known: hall-2" in found
    assert "is inspected now" not in found
    (state,) = client.get("/api/v1/boxes", params={"box": "hall-2"}).json()
    assert (state["is_silent"], state["is_inspecting"]) == (True, False)


@pytest.fixture
def lost_utc(url: str) -> Iterator[float]:
    """Have the third box lack what it recorded until a quarter of an hour ago; yield until when."""
    until_utc = time.time() - 900
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO plant.lost VALUES ('hall-3', 'records', 1, 1000000, %s)", (until_utc,))
        yield until_utc
        connection.execute("DELETE FROM plant.lost")


def test_each_box_is_cut_at_its_own_known_time(client: TestClient, lost_utc: float) -> None:
    """What one box lost is in no sum, and takes nothing from those of the others."""
    since_utc = lost_utc - 600
    asked = {"since": f"{datetime.fromtimestamp(since_utc, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"}
    asked["until"] = f"{datetime.fromtimestamp(lost_utc + 300, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    answer = client.get("/api/v1/coverage", params=asked).json()
    found = {box["name"]: (box["total"]["due_s"], box["known"]["unknown_s"]) for box in answer["boxes"]}
    assert found["hall-1"] == pytest.approx((2 * 900, 0), abs=0.1)
    assert found["hall-3"] == pytest.approx((2 * 300, 600), abs=0.1)
    assert answer["total"]["due_s"] == pytest.approx(sum(due_s for due_s, _ in found.values()))
    chart = client.get("/api/v1/charts", params={**asked, "together": "1", "period": "hour"}).json()
    assert chart["cut"] == pytest.approx({"hall-3": lost_utc})
    assert "hall-3" in words(client, f"/?{urlencode(asked)}").partition("of this time is not known:")[2][:20]


def test_all_is_well_only_where_every_box_says_so(client: TestClient) -> None:
    assert "Every camera of this box is inspected now" in words(client, f"{NOW}&box=hall-1")
    assert "is inspected now" not in words(client, f"{NOW}&box=hall-3")


def test_cameras_of_one_name_on_two_boxes_are_two(client: TestClient) -> None:
    names = [camera["name"] for camera in client.get("/api/v1/cameras").json()]
    assert names == [f"hall-{box}:cam0{n}" for box in (1, 2, 3) for n in (1, 2)]
    one = words(client, "/cameras/hall-3:cam02")
    other = words(client, "/cameras/hall-1:cam02")
    assert ("There is one" in other, "the camera sent nothing" in one, "the camera sent nothing" in other) == (
        *(False, True),
        False,
    )
    assert client.get("/cameras/cam01").status_code == 404


def test_what_was_inspected_for_nothing_is_said_with_its_box(new_plant: Callable[[], str], tmp_path: Path) -> None:
    """It counts as inspected, or was accepted: who looks at all boxes must hear of it as at the box."""
    made, now_s = new_plant(), time.time() - BEGAN_UTC
    directories = {name: tmp_path / name for name in ("hall-1", "hall-2")}
    for directory in directories.values():
        directory.mkdir()
        with writing(directory) as rows:
            run = line(rows, directory.name, "cam01")
            if directory.name == "hall-2":
                rows.gap(run, "cam01", "camera:FROZEN", now_s - 900, now_s - 600)
                began_utc = BEGAN_UTC + now_s
                doubted = {"since_utc": began_utc - 500, "until_utc": began_utc - 300, "why": "it computes wrongly"}
                with transaction(rows.connection):
                    rows.connection.journal.append(Kind.DOUBT, "engine", doubted, run)
        with writing_parts(directory) as parts:
            add_part(parts, make_part(1, BEGAN_UTC + now_s - 700, run_id=directory.name))
    ship_boxes(made, directories)

    with central_desk(made, tmp_path, BOXES) as client:
        found, of_the_other = words(client, NOW), words(client, f"{NOW}&box=hall-1")
        answer = client.get("/api/v1/coverage", params={"last": "1h"}).json()

    assert re.search(
        r"What hall-2 inspected from .* may be wrong, on every camera there, .*: it computes wrongly", found
    )
    assert re.search(r"1 part was let through while a camera stood still.*: P-1 \(hall-2:cam01\)", found)
    assert {box["name"]: [one["why"] for one in box["doubts"]] for box in answer["boxes"]} == {
        "hall-1": [],
        "hall-2": ["it computes wrongly"],
    }
    assert [one["why"] for one in answer["doubts"]] == ["it computes wrongly"]
    assert "may be wrong" not in of_the_other
    assert "stood still" not in of_the_other


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, {"hall-1", "hall-2", "hall-3"}),
        ({"box": "hall-2"}, {"hall-2"}),
        ({"camera": "hall-3:cam01"}, {"hall-3"}),
        ({"class": "of-hall-1"}, {"hall-1"}),
        ({"lot": "L-hall-3"}, {"hall-3"}),  # made everywhere at its box, while others made theirs
        ({"challenges": "only"}, {"hall-1"}),
        ({"box": "hall-2", "challenges": "only"}, set()),
    ],
)
def test_events_are_filtered_by_box(client: TestClient, asked: dict[str, str], found: set[str]) -> None:
    answer = client.get("/api/v1/events", params=asked)
    assert answer.status_code == 200, answer.text
    events = answer.json()["events"]
    assert {event["camera"].partition(":")[0] for event in events} == found


def test_a_filter_by_box_stays_in_the_addresses(client: TestClient) -> None:
    page = client.get("/events", params={"box": "hall-2"}).text
    assert re.search(r'href="/events/\d+\?within=true&amp;box=hall-2"', page)
    assert "<option selected>hall-2</option>" in page


def test_neighbours_are_of_the_same_camera_of_the_same_box(client: TestClient) -> None:
    (event,) = client.get("/api/v1/events", params={"box": "hall-2"}).json()["events"]
    detail = client.get(f"/api/v1/events/{event['event']}").json()
    assert (detail["earlier"], detail["later"]) == ([], [])
    assert "inspected by hall-2" in words(client, f"/events/{event['event']}")


def test_lots_say_their_box(client: TestClient) -> None:
    """What was ordered everywhere at one box is made at that box alone."""
    assert {(lot["lot"], lot["box"], lot["lane"]) for lot in client.get("/api/v1/lots").json()} == {
        (f"L-hall-{n}", f"hall-{n}", "*") for n in (1, 2, 3)
    }


def test_a_trail_is_of_one_box(client: TestClient) -> None:
    assert "Choose a box" in words(client, "/trail")
    assert client.get("/api/v1/trail").status_code == 400
    assert client.get("/api/v1/trail", params={"box": "hall-1"}).json()["head_number"] > 0


def test_a_trail_leads_to_the_camera_of_its_box(client: TestClient) -> None:
    shown = client.get("/trail", params={"box": "hall-3"}).text
    (address,) = re.findall(r'href="(/cameras/[^"]+)"', shown)
    assert address == "/cameras/hall-3%3Acam01?box=hall-3"
    assert "<h1>hall-3:cam01</h1>" in client.get(address).text


@pytest.mark.parametrize("address", ["/", "/events", "/parts", "/lots", "/cameras", "/charts", "/trail", "/account"])
def test_every_page_is_there_for_a_box_too(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 200
    assert client.get(address, params={"box": "hall-1"}).status_code == 200


def test_an_unknown_box_is_said(client: TestClient) -> None:
    answer = client.get("/events", params={"box": "hall-9"})
    assert answer.status_code == 404
    assert "this database has no box" in answer.text


@pytest.mark.parametrize(
    "address", ["/live", "/review", "/challenges", "/cases", "/report", "/figures", "/charts/baseline"]
)
def test_what_is_done_at_a_box_is_not_offered(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 404
    assert f'href="{address}"' not in client.get("/").text
    assert 'href="https://hall-1.example:8443/"' in client.get("/").text


def test_nothing_of_a_box_can_be_changed(client: TestClient) -> None:
    """Every route that is not a reading one is about the desk's own users."""
    described = client.get("/openapi.json").json()["paths"]
    assert {method for path in described.values() for method in path} == {"get"}
    for address in ("/lots", "/api/v1/lots", "/api/v1/recipe", "/cases", "/challenges/start", "/api/v1/parts"):
        assert client.post(address, json={"lot": "L", "recipe": ""}, headers=ORIGIN).status_code in {404, 405}


def test_an_image_that_cannot_be_fetched_says_whose_it_is(client: TestClient) -> None:
    (event,) = client.get("/api/v1/events", params={"box": "hall-1"}).json()["events"]
    answer = client.get(f"/media/events/{event['event']}/crop")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "image/svg+xml")
    assert "hall-1 has the enlarged" in re.sub(r"<[^>]+>", " ", answer.text)


def test_each_box_is_shown_by_its_own_clock(
    new_plant: Callable[[], str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also when others were asked just before; all boxes together by the shifts that most of them name."""
    # neither the first box nor the last one that names shifts is what most of them name
    zones: dict[str, str | None] = {"hall-1": "Asia/Tokyo", "hall-2": "Europe/Berlin", "hall-3": "Europe/Berlin"}
    zones |= {"hall-4": "America/Lima", "hall-5": None}
    made, directories = new_plant(), {name: tmp_path_factory.mktemp(name) for name in zones}
    for name, zone in zones.items():
        with writing(directories[name]) as rows:
            rows.run(float(name[-1]), 600, "cam01")
            after = {"timezone": zone, "start": ["06:00", "18:00"], "names": []}
            if zone is not None:
                with transaction(rows.connection):
                    rows.connection.journal.append(Kind.CONFIGURATION, SHIFTS, {"after": after}, 1)
    ship_boxes(made, directories)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:  # what signing in has read of the clock does not hold
            patch.setattr("vision_line.desk.recorded_clock._HOLDS_S", 0.0)
            client = stack.enter_context(central_desk(made, tmp_path))
        assert client.get(f"/static/{next(iter(assets()))}").status_code == 200  # of no box
        asked = ["", "hall-1", "", "hall-3", "hall-5", "hall-1", "hall-4", ""]
        feet = [client.get("/events", params={"box": box}).text.partition("times are ")[2] for box in asked]
        found = [html.unescape(foot).partition("<")[0].partition(",")[0] for foot in feet]
        assert found == [zones[box] or "this machine's" if box else "Europe/Berlin" for box in asked]
        for box in ("hall-1", "hall-4"):
            assert f"{box} names another time zone" in words(client, "/")


def test_without_a_session_nothing_is_shown(url: str, tmp_path: Path) -> None:
    with central_desk(url, tmp_path) as client:
        client.cookies.clear()
        assert client.get("/api/v1/boxes").status_code == 401
        assert client.get("/events").status_code == 401


def test_a_database_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    with central_desk("postgresql://nobody:verysecret@127.0.0.1:9/none", tmp_path) as client:
        answer = client.get("/")
        assert answer.status_code == 503
        assert "verysecret" not in answer.text
