# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the desk's pages load: little, for ever the same, and of this package alone."""

from __future__ import annotations

import re

from starlette.testclient import TestClient

from vision_line.desk.rendering import assets


def test_assets_are_small() -> None:
    """A phone on the plant's wireless network loads them once."""
    assert sum(len(data) for data, _ in assets().values()) < 200_000


def test_assets_load_nothing_from_elsewhere() -> None:
    for data, _ in assets().values():
        without_names = data.replace(b"http://www.w3.org/", b"")
        assert not re.search(rb"https?://|//[a-z]+\.|@import", without_names)


def test_pages_name_assets_that_are_served_for_ever(client: TestClient) -> None:
    shown = client.get("/enter").text
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', shown)
    assert len(named) == 3
    for address in named:
        answer = client.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]


def test_no_other_file_is_served(client: TestClient) -> None:
    for name in ("desk.css", "..%2Frendering.py", "%2e%2e/rendering.py", "../../../etc/passwd"):
        assert client.get(f"/static/{name}").status_code == 404
