# SPDX-License-Identifier: AGPL-3.0-or-later
"""Entries of the audit trail as people read them: what each is about, where it leads, and what its facts say. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from vision_line.desk.local_time import plant_clock
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
    """Return the page that shows more of it, None where there is none."""
    if kind == "configuration" and key.startswith(_CAMERA):
        return f"/cameras/{quote(key.removeprefix(_CAMERA), safe='')}"
    if kind == "run" and {"started_utc", "ended_utc"} <= facts.keys():
        clock = plant_clock()
        times = {"since": facts["started_utc"], "until": facts["ended_utc"]}
        try:
            return f"/?{urlencode({name: clock.iso(float(utc)) for name, utc in times.items()})}"
        except (ConfigError, ValueError):  # somebody else's numbers
            return None
    return None


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
