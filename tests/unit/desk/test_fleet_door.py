# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who gets a box's images by their hash: the plant's central desk alone, and not for ever at any rate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient
from tests.fakes.desk import ADDRESS, HERE
from tests.fakes.desk_records import writing

from vision_line.cli.part_sender import part_sender
from vision_line.desk.application import make_application
from vision_line.desk.fleet_door import A_SECOND, MOST_AT_ONCE, FleetDoor
from vision_line.desk.record_reader import RecordReader
from vision_line.desk.users.accounts import Accounts
from vision_line.desk.users.sessions import Sessions
from vision_line.desk.users.sign_in_check import SignInCheck

TOKEN = b"t" * 40
GOOD = {"Authorization": f"Bearer {TOKEN.decode()}"}


def desk_with(records: Path, token: bytes | None) -> TestClient:
    """Return a client of a box's desk; nobody is signed in."""
    check, sender = SignInCheck(Accounts(records)), part_sender(records)
    door = None if token is None else FleetDoor(token)
    application = make_application(RecordReader(records), HERE, print, Sessions(), check, sender, fleet_door=door)
    return TestClient(application, f"http://{ADDRESS}", raise_server_exceptions=False)


@pytest.fixture
def client(records: Path) -> Iterator[TestClient]:
    with desk_with(records, TOKEN) as found:
        yield found


@pytest.fixture
def kept(records: Path) -> list[bytes]:
    """Return what is kept of an event: the frame, the one with boxes, the enlarged defect, the clip."""
    with writing(records) as rows:
        run = rows.run(0, 60, "cam")
        event = rows.event(run, "cam", 10)
        rows.images(event, b"frame")
        rows.clip(run, "cam", event, b"clip")
    return [b"frame", b"frame overlay", b"frame crop", b"clip"]


def address(content: bytes) -> str:
    return f"/fleet/files/{hashlib.sha256(content).hexdigest()}"


def test_every_kept_file_is_given_by_its_hash(client: TestClient, kept: list[bytes]) -> None:
    assert [client.get(address(content), headers=GOOD).content for content in kept] == kept


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN.decode()}])
def test_without_the_token_nothing_is_said(client: TestClient, kept: list[bytes], headers: dict[str, str]) -> None:
    """Not even whether there is such a file."""
    answers = [client.get(address(content), headers=headers) for content in (kept[0], b"none")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize(("asked", "status"), [("../../records.sqlite", 404), ("A" * 64, 400), ("0" * 64, 404)])
def test_nothing_else_can_be_asked_for(client: TestClient, kept: list[bytes], asked: str, status: int) -> None:
    assert client.get(f"/fleet/files/{asked}", headers=GOOD).status_code == status


def test_a_removed_file_is_not_given(client: TestClient, records: Path, kept: list[bytes]) -> None:
    with writing(records) as rows:
        rows.connection.execute("UPDATE evidence SET deleted_utc = 1.0")
    assert client.get(address(kept[0]), headers=GOOD).status_code == 404


def test_a_box_that_was_given_no_token_serves_nothing(records: Path, kept: list[bytes]) -> None:
    with desk_with(records, None) as client:
        assert client.get(address(kept[0]), headers=GOOD).status_code == 404


def test_who_guesses_has_to_wait_and_keeps_nobody_else_out() -> None:
    door = FleetDoor(TOKEN, lambda: 0.0)
    said = []
    for _ in range(8):
        with pytest.raises(HTTPException) as refused:
            door.check("Bearer guess", "192.0.2.1")
        said.append(refused.value.status_code)
    assert said[0] == 401
    assert said[-1] == 429
    door.check(GOOD["Authorization"], "192.0.2.2")


def test_the_rate_is_bounded_and_comes_back() -> None:
    clock = [0.0]
    door = FleetDoor(TOKEN, lambda: clock[0])
    for _ in range(int(MOST_AT_ONCE)):
        door.check(GOOD["Authorization"], "192.0.2.2")
    with pytest.raises(HTTPException) as refused:
        door.check(GOOD["Authorization"], "192.0.2.2")
    assert refused.value.status_code == 429
    clock[0] += 1 / A_SECOND
    door.check(GOOD["Authorization"], "192.0.2.2")


def test_the_token_is_in_no_representation() -> None:
    assert TOKEN.decode() not in repr(FleetDoor(TOKEN))
