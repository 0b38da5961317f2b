# SPDX-License-Identifier: AGPL-3.0-or-later
"""From an entry of the parts' journal to what an output is told. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from vision_line.outputs.cursor import JournalName
from vision_line.outputs.notification import Notification
from vision_line.parts.orders import EVERYWHERE, LOT, RECIPE
from vision_line.parts.part_entries import CORRECTION, PART
from vision_line.records.formats import iso_utc
from vision_line.records.journal import JournalEntry
from vision_line.records.side_removal import REMOVAL

_Said = tuple[dict[str, object], str | None]


def part_id_of(entry: JournalEntry) -> str:
    """Return the id of an entry: no run begins with this word."""
    return f"{JournalName.PARTS}:{entry.number}"


def part_notification(entry: JournalEntry) -> Notification:
    """Return what is said of `entry`.

    Raises:
        ValueError, AttributeError, KeyError, TypeError: its body is not what the program wrote.
    """
    body = json.loads(entry.body)
    content, verdict = _CONTENTS[entry.kind](entry.key, body)
    lane = str(content["lane"])
    return Notification(
        part_id_of(entry),
        entry.number,
        entry.kind,
        entry.at_utc,
        content,
        verdict=verdict,
        lane=None if lane == EVERYWHERE else lane,
    )


def _part(_key: str, body: Mapping[str, object]) -> _Said:
    """Return a part; `inspections` is the fewest of a camera, as in the table."""
    inspections = _dict(body["inspections"])
    begins, ends = _list(body["window_utc"])
    content = {
        "run": body["run_id"] or None,
        "lane": body["lane"],
        "sequence": body["sequence"],
        "part_id": body["part_id"],
        "lot": body["lot"],
        "recipe": body["recipe"],
        "trigger": body["trigger"],
        "verdict": body["verdict"],
        "cause": body["cause"],
        "events": body["events"],
        "inspections": min(inspections.values(), default=0),
        "inspections_by_camera": inspections,
        "triggered_utc": _moment(body["triggered_utc"]),
        "window_begins_utc": _moment(begins),
        "window_ends_utc": _moment(ends),
        "deadline_utc": _moment(body["deadline_utc"]),
        "decided_utc": _moment(body["decided_utc"]),
        "sent_after_ms": body["sent_after_ms"],
        "is_simulated": body["is_simulated"],
    }
    return content, str(body["verdict"])


def _correction(key: str, body: Mapping[str, object]) -> _Said:
    """Return what was found of a part after it was decided: its verdict would have been the right one.

    `left_as` is what left instead of what was decided, None where that did.
    """
    left_as = body.get("left_as")
    lane, _, sequence = key.rpartition("/")
    content = {
        "run": None,
        "lane": lane,
        "sequence": int(sequence),
        "part": f"{JournalName.PARTS}:{body['part']}",
        "decided": body["decided"],
        "verdict": body["found"],
        "left_as": left_as["verdict"] if isinstance(left_as, dict) else None,
        "events": body["events"],
    }
    return content, str(body["found"])


def _order(kind: str) -> Callable[[str, Mapping[str, object]], _Said]:
    """Return what says of a lot or recipe that it counts from now on; who asked is known to the box alone."""

    def said(key: str, body: Mapping[str, object]) -> _Said:
        return {"run": None, "lane": key, kind: body[kind], "door": body["door"]}, None

    return said


def _removal(_key: str, body: Mapping[str, object]) -> _Said:
    """Return that old parts were removed, with the words of the records' removals; `lanes` has all so far."""
    content = {
        "run": None,
        "lane": EVERYWHERE,
        "removed_from": body["removed_from"],
        "rows": body["rows"],
        "lanes": body["lanes"],
        "from_utc": None if body["from_utc"] is None else _moment(body["from_utc"]),
        "to_utc": None if body["to_utc"] is None else _moment(body["to_utc"]),
        "why": body["why"],
        "through": body["through"],
    }
    return content, None


def _moment(value: object) -> str:
    if not isinstance(value, int | float):
        raise TypeError(f"expected a moment, found {type(value).__name__}")
    return iso_utc(value)


def _dict(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, found {type(value).__name__}")
    return {str(name): int(number) for name, number in value.items()}


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, found {type(value).__name__}")
    return value


_CONTENTS: Mapping[str, Callable[[str, Mapping[str, object]], _Said]] = {
    PART: _part,
    CORRECTION: _correction,
    LOT: _order(LOT),
    RECIPE: _order(RECIPE),
    REMOVAL: _removal,
}
