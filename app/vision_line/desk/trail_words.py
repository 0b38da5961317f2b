# SPDX-License-Identifier: AGPL-3.0-or-later
"""Entries of the audit trail as people read them: what each is about, where it leads, and what its facts say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import ceil
from urllib.parse import quote, urlencode

from vision_line.desk.boxes import name_of_box, present_boxes
from vision_line.desk.local_time import plant_clock
from vision_line.desk.time_choice import LONGEST_S
from vision_line.errors import ConfigError
from vision_line.parts.orders import EVERYWHERE
from vision_line.parts.recorded_recipes import IN_FORCE, REFUSED

_CAMERA, _SECTION = "camera/", "section/"


def entry_title(kind: str, key: str, facts: Mapping[str, str]) -> str:
    """Return what an entry is about: a camera, a table of streams.toml, how far a run was, what a seal covers."""
    if kind == "configuration":
        return _configured(key)
    if kind == "run":
        return f"{_run_stage(facts)}, run {facts.get('run', '?')}"
    if kind == "doubt":
        return f"what was inspected may be wrong ({key}), run {facts.get('run', '?')}"
    if kind == "seal":
        return f"{facts.get('entries', '?')} entries"
    return key


def _configured(key: str) -> str:
    if key.startswith(_SECTION):
        return f"[{key.removeprefix(_SECTION)}]"
    for prefix, words in ((IN_FORCE, "recipe in force"), (REFUSED, "recipe refused")):
        if key.startswith(prefix):
            lane = key.removeprefix(prefix)
            return words if lane == EVERYWHERE else f"{words} at lane {lane}"
    return key.removeprefix(_CAMERA)


def entry_address(kind: str, key: str, facts: Mapping[str, str]) -> str | None:
    """Return the page that shows more of it, of the box whose trail it is; None where there is none."""
    boxes = present_boxes()
    if kind == "configuration" and key.startswith(_CAMERA):
        camera = name_of_box(boxes.box, key.removeprefix(_CAMERA))
        return f"/cameras/{quote(camera, safe='')}" + (f"?{urlencode(boxes.asked)}" if boxes.asked else "")
    if kind == "run" and {"started_utc", "ended_utc"} <= facts.keys():
        return _address_of_time(facts["started_utc"], facts["ended_utc"])
    if kind == "doubt" and {"since_utc", "until_utc"} <= facts.keys():
        return _address_of_time(facts["since_utc"], facts["until_utc"])
    return None


def _address_of_time(since: str, until: str) -> str | None:
    """Return where it stands what was inspected in a time, of a longer one in its last days; None: it is no time."""
    clock = plant_clock()
    try:
        until_utc = float(until)
        since_utc = max(float(since), ceil(until_utc - LONGEST_S))  # no microsecond longer
        if not since_utc < until_utc:
            return None
        times = {"since": clock.iso(since_utc), "until": clock.iso(until_utc)}
    except (ConfigError, ValueError, OverflowError):  # somebody else's numbers
        return None
    return f"/?{urlencode(times | present_boxes().asked)}"


def fact_text(name: str, text: str) -> str:
    """Return a recorded value in words: moments on the plant's clock, lists with commas, yes and no."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if name.endswith("_utc") and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return plant_clock().moment(value)
        except ConfigError:
            return text
    return _words(value)


def _run_stage(facts: Mapping[str, str]) -> str:
    if "ended_utc" in facts:
        return f"ended ({facts.get('end_cause', 'unknown')})"
    return "device is open" if "form" in facts else "began"


def _words(value: object) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return "yes" if value else "no"
        case dict():
            return ", ".join(f"{name}: {_words(one)}" for name, one in value.items()) or "none"
        case list():
            return ", ".join(_words(one) for one in value) or "none"
    return str(value)
