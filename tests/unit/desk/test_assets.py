# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the desk's pages load: little, for ever the same, and of this package alone."""

from __future__ import annotations

import re

from starlette.testclient import TestClient

from vision_line.desk.rendering import assets

#: Colours of text, and what stands behind it (WCAG 2.2, 1.4.3: 4.5 to 1 and more).
TEXT_ON = {
    **dict.fromkeys(("ink", "soft", "link"), ("ground", "paper", "sunk", "good-wash", "part-wash", "bad-wash")),
    "faint": ("ground", "paper", "sunk"),
    "paper": ("brand",),
    **{f"{kind}-ink": ("paper", f"{kind}-wash") for kind in ("good", "part", "bad")},
}
LEAST_CONTRAST = 4.5
#: Drawn in these, an area is seen; they are no colours of text.
OF_AREAS = {"good", "part", "bad", "off", "line", "sunk", "ground"}


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


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


def test_text_can_be_read_in_the_sun_and_at_night() -> None:
    """In both schemes; and no text has a colour that is made for areas."""
    styles = "".join(data.decode() for data, kind in assets().values() if "css" in kind)
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in styles.split("@media (pref", 1))
    dark = light | {name: value for name, value in dark.items() if name in light}
    for palette in (light, dark):
        weak = {
            (text, ground): round(contrast(palette[text], palette[ground]), 2)
            for text, grounds in TEXT_ON.items()
            for ground in grounds
            if contrast(palette[text], palette[ground]) < LEAST_CONTRAST
        }
        assert not weak
    assert not set(re.findall(r"(?<![-a-z])color: var\(--([a-z-]+)\)", styles)) & OF_AREAS
