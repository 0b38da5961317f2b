# SPDX-License-Identifier: AGPL-3.0-or-later
"""In force is the newest recipe that was asked for and that the file has; what is newer and not there is said."""

from __future__ import annotations

from typing import Any

from vision_line.config.models import Config
from vision_line.parts.orders import RECIPE, Asked, Order
from vision_line.runtime.active_recipes import active_recipes, streams_in_force

CONFIG = Config.model_validate(
    {
        "config_version": 1,
        "recipe": {"7": {"min_hits": 2}, "8": {"min_hits": 4}},
        "lane": [{"name": "left", "cameras": ["a"], "window_ms": [1.0, 2.0], "ejector_ms": 500.0}],
        "stream": [{"name": name, "url": f"rtsp://host/{name}"} for name in ("a", "b")],
    }
)


def asked(*wishes: tuple[str, str]) -> list[Order]:
    """Return wishes of lane and recipe, given the oldest first, as they are read."""
    every = [Order(n, RECIPE, lane, value, Asked("qa", "desk"), float(n)) for n, (lane, value) in enumerate(wishes)]
    return every[::-1]


def in_force(*wishes: tuple[str, str]) -> tuple[dict[str, str], list[str]]:
    active = active_recipes(CONFIG, asked(*wishes))
    return active.names, [str(refusal) for refusal in active.refused]


def test_the_newest_counts_for_its_cameras() -> None:
    assert in_force() == ({}, [])
    assert in_force(("*", "7")) == ({"a": "7", "b": "7"}, [])
    assert in_force(("*", "7"), ("left", "8")) == ({"a": "8", "b": "7"}, [])
    assert in_force(("left", "8"), ("*", "7")) == ({"a": "7", "b": "7"}, [])
    assert in_force(("*", "7"), ("left", "")) == ({"b": "7"}, [])


def test_what_the_file_has_not_leaves_what_was() -> None:
    """And it is said until something else is asked for there."""
    why = "recipe 9 is not in force: the configuration has no recipe 9 (asked for by qa)"
    assert in_force(("*", "7"), ("*", "9")) == ({"a": "7", "b": "7"}, [why])
    assert in_force(("*", "7"), ("*", "9"), ("*", "8")) == ({"a": "8", "b": "8"}, [])
    assert in_force(("*", "7"), ("left", "9"), ("left", "8")) == ({"a": "8", "b": "7"}, [])
    lane = "recipe 7 at lane right is not in force: the configuration has no lane right (asked for by qa)"
    assert in_force(("right", "7")) == ({}, [lane])


def test_each_camera_stands_under_its_own() -> None:
    streams = streams_in_force(CONFIG, active_recipes(CONFIG, asked(("*", "7"), ("left", "8"))))
    assert [(one.min_hits, one.recipe) for one in streams] == [(4, "8"), (2, "7")]


def test_a_file_that_lacks_what_is_in_force_is_known() -> None:
    active = active_recipes(CONFIG, asked(("*", "7"), ("left", "8")))
    fewer: Any = CONFIG.model_copy(update={"recipe": {"7": CONFIG.recipe["7"]}})
    assert active.missing_in(CONFIG) == {}
    assert active.missing_in(fewer) == {"8": ["a"]}
