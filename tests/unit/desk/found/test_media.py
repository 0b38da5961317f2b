# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images and clips of the desk: by number, below the record directory, and what was recorded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk_records import DeskRecords

CLIP = bytes(range(256)) * 40


@pytest.fixture
def event(rows: DeskRecords) -> int:
    return rows.event(rows.run(0, 100, "cam01"), "cam01", 1)


def shown_at(client: TestClient, page: str) -> set[str]:
    """Return the addresses of images and clips that a page has."""
    return set(re.findall(r'src="(/media/[^"]+)"', client.get(page).text))


def test_each_image_of_an_event(rows: DeskRecords, client: TestClient, event: int) -> None:
    """By the addresses of the pages they never change, so this browser may keep them; no other."""
    rows.images(event, b"jpeg")
    addresses = {re.split("[/?]", one)[4]: one for one in shown_at(client, f"/events/{event}")}
    answers = {kind: client.get(addresses[kind]) for kind in ("image", "overlay", "crop")}
    assert [answer.content for answer in answers.values()] == [b"jpeg", b"jpeg overlay", b"jpeg crop"]
    assert {answer.headers["cache-control"] for answer in answers.values()} == {"private, max-age=31536000, immutable"}
    assert answers["image"].headers["content-type"] == "image/jpeg"


def test_a_number_that_is_another_events_now(rows: DeskRecords, client: TestClient, event: int) -> None:
    """As in other records at the same address, or in a table of which all rows were removed: never the old image."""
    rows.images(event, b"jpeg")
    near_miss, audit = rows.near_miss(1, "cam01", 2, b"near miss"), rows.audit(1, "cam01", 3, b"audit")
    pages = [f"/events/{event}", "/events", f"/near-misses/{near_miss}", f"/audits/{audit}"]
    before = [shown_at(client, page) for page in pages]
    kept = client.get(f"/media/events/{event}/image")
    assert kept.headers["cache-control"] == "private, no-cache"
    same = {"If-None-Match": kept.headers["etag"]}
    assert client.get(f"/media/events/{event}/image", headers=same).status_code == 304
    for table in ("evidence", "near_misses", "audits"):
        rows.connection.execute(f"DELETE FROM {table}")
    rows.images(event, b"another")
    assert rows.near_miss(1, "cam01", 2, b"another near miss") == near_miss
    assert rows.audit(1, "cam01", 3, b"another audit") == audit
    assert client.get(f"/media/events/{event}/image", headers=same).content == b"another"
    for page, old in zip(pages, before, strict=True):
        assert old
        assert not old & shown_at(client, page)
        assert {client.get(address).status_code for address in old} == {410}


def test_an_image_that_is_not_the_recorded_one_is_not_shown(rows: DeskRecords, client: TestClient, event: int) -> None:
    rows.images(event, b"jpeg")
    next(rows.directory.rglob(f"{event}.jpg")).write_bytes(b"another")
    answer = client.get(f"/media/events/{event}/image")
    assert answer.status_code == 503
    assert "not the image that was recorded" in answer.text


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../secret", "evidence/../secret", "records.sqlite", "evidence/link/secret", "evidence"]
)
def test_a_row_cannot_name_a_file_elsewhere(
    rows: DeskRecords, client: TestClient, event: int, path: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The record file may be somebody else's."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "secret").write_bytes(b"jpeg")
    (rows.directory / "secret").write_bytes(b"jpeg")
    (rows.directory / "evidence").mkdir()
    (rows.directory / "evidence" / "link").symlink_to(elsewhere)
    rows.images(event, b"jpeg", path=path)
    answer = client.get(f"/media/events/{event}/image")
    assert answer.status_code == 410
    assert b"jpeg" not in answer.content


def test_a_link_within_the_records_is_not_followed(rows: DeskRecords, client: TestClient, event: int) -> None:
    """It could become another one between the check and the opening."""
    rows.images(event, b"jpeg")
    image = next(rows.directory.rglob(f"{event}.jpg"))
    image.rename(image.with_name("real.jpg"))
    image.symlink_to("real.jpg")
    assert client.get(f"/media/events/{event}/image").status_code == 410


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/media/events/99/image", 404),
        ("/media/events/-1/image", 404),
        ("/media/events/99999999999999999999/image", 404),
        ("/media/events/x/image", 400),
        ("/media/events/1/path", 400),
        ("/media/clips/99", 404),
    ],
)
def test_what_is_not_there(client: TestClient, path: str, status: int) -> None:
    assert client.get(path).status_code == status


def test_images_that_were_removed(rows: DeskRecords, client: TestClient, event: int) -> None:
    rows.images(event, b"jpeg")
    rows.connection.execute("UPDATE evidence SET deleted_utc = 1.0")
    assert client.get(f"/media/events/{event}/image").status_code == 410
    assert "The images were removed" in client.get(f"/events/{event}").text


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, 10239),
        ("bytes=-10", 10230, 10239),
        ("bytes=10000-99999", 10000, 10239),
    ],
)
def test_a_browser_can_seek_in_a_clip(
    rows: DeskRecords, client: TestClient, event: int, asked: str, first: int, last: int
) -> None:
    clip = rows.clip(1, "cam01", event, CLIP)
    answer = client.get(f"/media/clips/{clip}", headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/10240"
    assert answer.content == CLIP[first : last + 1]


@pytest.mark.parametrize("asked", ["bytes=20000-", "bytes=9-3", "bytes=-0"])
def test_a_part_that_is_not_there(rows: DeskRecords, client: TestClient, event: int, asked: str) -> None:
    clip = rows.clip(1, "cam01", event, CLIP)
    answer = client.get(f"/media/clips/{clip}", headers={"Range": asked})
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */10240")


def test_a_whole_clip_and_one_that_was_changed(rows: DeskRecords, client: TestClient, event: int) -> None:
    clip = rows.clip(1, "cam01", event, CLIP)
    whole = client.get(f"/media/clips/{clip}")
    assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, CLIP, "bytes")
    assert whole.headers["cache-control"] == "private, no-cache"
    (shown,) = (one for one in shown_at(client, f"/events/{event}") if one.startswith("/media/clips"))
    assert "immutable" in client.get(shown).headers["cache-control"]
    other = {"Range": "bytes=0-9", "If-Range": '"of another clip"'}
    assert client.get(f"/media/clips/{clip}", headers=other).content == CLIP
    next(Path(rows.directory / "clips").rglob("*.mp4")).write_bytes(b"another")
    assert client.get(f"/media/clips/{clip}").status_code == 503
