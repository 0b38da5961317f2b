# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages as HTML: templates that escape everything, and the few files that they load, all of this package."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import groupby
from types import MappingProxyType
from typing import TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from vision_line import __version__
from vision_line.challenges.showing import share
from vision_line.desk.boxes import box_of, name_in_box, own_number, present_boxes
from vision_line.desk.found.media_addresses import media_address
from vision_line.desk.local_time import plant_clock
from vision_line.desk.plain_words import (
    cause_words,
    drop_words,
    duration,
    part_cause_words,
    percent,
    rounded_percent,
)
from vision_line.desk.time_filters import time_filters

T = TypeVar("T")

#: Address, key and name of each page; then the names of those that the desk of all boxes has.
_PAGES = (
    *(("/", "o", "Inspected"), ("/live", "l", "Live"), ("/events", "e", "Events"), ("/parts", "u", "Parts")),
    *(("/review", "r", "Review"), ("/cameras", "c", "Cameras"), ("/charts", "g", "Charts"), ("/cases", "a", "Cases")),
    *(("/report", "f", "Report"), ("/challenges", "h", "Challenges"), ("/figures", "i", "Figures")),
    ("/trail", "t", "Trail"),
)
_OF_ALL_BOXES = frozenset({"Inspected", "Events", "Parts", "Cameras", "Charts", "Trail"})
#: Everything that a page loads, by name, with its type.
_TYPES = MappingProxyType({"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"})
#: A module comes after those that it imports.
_ASSETS = (
    *("desk.css", "renewal.js", "desk.js", "icon.svg", "pick.js"),
    *("charts.css", "charts.js"),
    *("live.css", "live_socket.js", "live_boxes.js", "live_grid.js", "live_player.js"),
    *("live_focus.js", "live_regions.js"),
    *("review.css", "review_boxes.js", "review.js"),
)


@cache
def assets() -> dict[str, tuple[bytes, str]]:
    """Return content and type of each asset by its address: its name with what it holds hashed, so it never changes.

    Where a module imports another one by its name, it gets that one's address.
    """
    folder = files("vision_line.desk") / "static"
    addresses: dict[str, str] = {}
    found = {}
    for name in _ASSETS:
        data = (folder / name).read_bytes()
        for imported, address in addresses.items():
            data = data.replace(f'"./{imported}"'.encode(), f'"./{address}"'.encode())
        addresses[name] = f"{sha256(data).hexdigest()[:16]}-{name}"
        found[addresses[name]] = (data, _TYPES[name.rpartition(".")[2]])
    return found


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("vision_line.desk", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "asset": {address.partition("-")[2]: f"/static/{address}" for address in assets()},
        "version": __version__,
        "plant_clock": plant_clock,
        "present_boxes": present_boxes,
        "nav_pages": _nav_pages,
        "media_address": media_address,
    }
    environment.filters |= {
        **time_filters(),
        "groupby_day": _by_day,
        "duration": duration,
        "percent": percent,
        "rounded_percent": rounded_percent,
        "share": share,
        "cause_words": cause_words,
        "drop_words": drop_words,
        "part_cause_words": part_cause_words,
        "own_number": own_number,
        "box_of": box_of,
        "name_in_box": name_in_box,
    }
    return environment


def _nav_pages() -> list[tuple[str, str, str]]:
    """Return the pages that the present desk has."""
    return [one for one in _PAGES if not present_boxes().is_central or one[2] in _OF_ALL_BOXES]


def _by_day(rows: Iterable[T], moment: str) -> list[tuple[str, list[T]]]:
    """Return rows in their order, by the day of the moment that each has in its attribute `moment`."""
    return [(day, list(own)) for day, own in groupby(rows, lambda row: plant_clock().day(getattr(row, moment)))]


def page(template: str, status: int = 200, **values: object) -> HTMLResponse:
    """Return a page made of a template of this package."""
    return HTMLResponse(rendered(template, **values), status)


def rendered(template: str, **values: object) -> str:
    """Return the text of a template of this package."""
    return _environment().get_template(template).render(**values)
