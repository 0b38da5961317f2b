# SPDX-License-Identifier: AGPL-3.0-or-later
"""Near misses and audits as lists and pages: image, boxes, row, or why there is no image."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient
from tests.fakes.desk_records import DeskRecords

from vision_line.desk.reviewing.kept_frames import PAGE_ROWS


@pytest.mark.parametrize("name", ["near-misses", "audits"])
def test_lists_go_on_by_a_key(rows: DeskRecords, client: TestClient, name: str) -> None:
    """Newest first, none twice, none lost, also where many were seen at one moment."""
    run = rows.run(0, 600, "cam")
    add = rows.near_miss if name == "near-misses" else rows.audit
    for number in range(PAGE_ROWS + 10):
        add(run, "cam", number // 20, b"image" if number % 2 else None)
    first = client.get(f"/api/v1/{name}").json()
    rest = client.get(
        f"/api/v1/{name}", params={"after_utc": first["next"]["seen_utc"], "after": first["next"]["number"]}
    )
    numbers = [one["number"] for one in (*first["frames"], *rest.json()["frames"])]
    assert numbers == list(range(PAGE_ROWS + 10, 0, -1))
    assert rest.json()["next"] is None
    page = client.get(f"/{name}").text
    assert page.count('class="tile"') == PAGE_ROWS
    assert ("not drawn" if name == "near-misses" else "the disk was full") in page
    assert "older →" in page


def test_an_audit_shows_image_boxes_and_row(rows: DeskRecords, client: TestClient) -> None:
    boxes = '[{"class": "<b>", "score": 0.7, "box": [1, 2, 30, 40]}]'
    number = rows.audit(rows.run(0, 600, "cam"), "cam", 10, b"image", detections=boxes)
    page = client.get(f"/audits/{number}").text
    assert f"/media/audits/{number}" in page
    assert "&lt;b&gt; 0.70" in page
    assert '<rect class="line-box" x="1"' in page
    assert "2026-11-28" in page
    assert "Nobody has reviewed it" in page
    assert client.get(f"/media/audits/{number}").content == b"image"


def test_a_rotated_box_is_shown_by_its_corners(rows: DeskRecords, client: TestClient) -> None:
    """The upright box around it says nothing of how a long thin defect lies."""
    corners = [4.0, 10.0, 16.0, 14.0, 12.0, 30.0, 0.0, 26.0]
    run = rows.run(0, 600, "cam")
    near_miss = rows.near_miss(run, "cam", 10, b"image", outline=json.dumps(corners))
    found = [{"class": "open", "score": 0.7, "box": [0, 10, 16, 30], "outline": corners}]
    audit = rows.audit(run, "cam", 10, b"image", detections=json.dumps(found))

    for name, number in (("near-misses", near_miss), ("audits", audit)):
        page = client.get(f"/{name}/{number}").text
        assert '<polygon class="line-box" points="4.0 10.0 16.0 14.0 12.0 30.0 0.0 26.0"/>' in page
        assert "<rect" not in page.partition('class="boxed"')[2].partition("</svg>")[0]
        ((box,),) = [one["boxes"] for one in client.get(f"/api/v1/{name}").json()["frames"]]
        assert box["outline"] == corners


def test_a_near_miss_that_was_not_drawn_says_so(rows: DeskRecords, client: TestClient) -> None:
    number = rows.near_miss(rows.run(0, 600, "cam"), "cam", 10)
    assert "There is no image: not drawn" in client.get(f"/near-misses/{number}").text
    assert client.get(f"/media/near_misses/{number}").status_code == 410


@pytest.mark.parametrize(
    "address", ["/audits/9", "/near-misses/9", "/audits/-1", f"/audits/{2**63}", "/media/audits/9"]
)
def test_what_is_not_there(client: TestClient, address: str) -> None:
    assert client.get(f"/{address}").status_code == 404


def test_empty_lists_say_where_they_come_from(client: TestClient) -> None:
    assert "[review]" in client.get("/audits").text
    assert "[review]" in client.get("/near-misses").text


def test_an_image_that_is_another_is_not_shown(rows: DeskRecords, client: TestClient) -> None:
    number = rows.audit(rows.run(0, 600, "cam"), "cam", 10, b"image")
    rows.connection.execute("UPDATE audits SET sha256 = 'x'")
    assert client.get(f"/media/audits/{number}").status_code == 503
