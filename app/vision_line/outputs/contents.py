# SPDX-License-Identifier: AGPL-3.0-or-later
"""From an entry of the journal to what an output is told: keys by name, moments as ISO 8601, no monotonic seconds.

Pure. The tables are described in docs/records.md, what is made of them here in docs/outputs/messages.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from vision_line.outputs.cursor import JournalName
from vision_line.outputs.notification import RECIPE_STATE, Notification, id_of
from vision_line.parts.orders import EVERYWHERE
from vision_line.parts.recorded_recipes import IN_FORCE, REFUSED, RecordedWish
from vision_line.records.formats import iso_utc
from vision_line.records.journal import JournalEntry, Kind

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RunDetails:
    """What is said of a run with each of its events."""

    run_id: str
    host: str
    version: str
    model_name: str
    model_sha256: str
    config_sha256: str
    is_simulated: bool

    def as_content(self) -> dict[str, object]:
        """Return them as keys."""
        return {
            "run": self.run_id,
            "host": self.host,
            "model": self.model_name,
            "model_sha256": self.model_sha256,
            "config_sha256": self.config_sha256,
            "is_simulated": self.is_simulated,
        }


@dataclass(frozen=True, slots=True)
class EventDetails:
    """What an entry does not say of its event, and the records do."""

    camera: str | None = None
    class_name: str | None = None
    verdict: str | None = None
    latency_ms: float | None = None
    model: tuple[str, str] | None = None
    """Name and SHA-256 of the one that inspected; None: the run's own."""
    may_rise: bool = False
    """Whether the event goes on, so that its verdict is not its last."""


#: What is left out of rows: their numbers within the file, monotonic clocks, paths on the line's disk.
_WITHHELD = frozenset(
    {
        *("event", "minute", "interval", "change", "evidence", "clip", "near_miss", "audit", "step", "removal", "run"),
        *("path", "overlay_path", "crop_path", "detections", "boot_id", "run_id", "url", "why_not", "outline"),
        *("area_px", "centre_x", "centre_y"),
    }
)
#: Seconds that are a length and no moment of the monotonic clock.
_LENGTHS = frozenset({"not_inspected_s"})
_FLAGS = frozenset({"ended", "provisional", "reencoded"})
_JSON = frozenset({"events", "settings", "classes"})
_RENAMED = {"sha256": "image_sha256", "name": "camera"}


def notification_of(
    entry: JournalEntry, body: dict[str, object], run: RunDetails | None, event: EventDetails
) -> Notification:
    """Return what is said of `entry`, whose JSON is `body`; `run` is None where it has none.

    Raises:
        ValueError, AttributeError, KeyError, TypeError, RunError: its body is not what the program wrote.
    """
    kind, key = _said_as(*_said_by(entry), body)
    content = {"run": None if run is None else run.run_id, **_CONTENTS.get(kind, _row)(key, body)}
    if kind == Kind.EVENT and run is not None:
        content |= run.as_content() | {"latency_ms": event.latency_ms}
        if event.model is not None:
            content |= dict(zip(("model", "model_sha256"), event.model, strict=True))
    if kind == Kind.EVIDENCE:
        content |= {"camera": event.camera, "class": event.class_name, "verdict": event.verdict}
    if entry.kind == Kind.CARRIED:
        content["carried"] = True
    return Notification(
        id_of(None if run is None else run.run_id, entry),
        entry.number,
        kind,
        entry.at_utc,
        content,
        camera=_text(content.get("camera")) or event.camera,
        class_name=_text(content.get("class")) or event.class_name,
        # An image is told once: were it kept back for the verdict of now, it would be missing where that rises.
        verdict=None if event.may_rise else _text(content.get("verdict")) or event.verdict,
        lane=None if content.get("lane") == EVERYWHERE else _text(content.get("lane")),
    )


def _said_by(entry: JournalEntry) -> tuple[str, str]:
    """Return the kind and key of what an entry says, whether it was carried or not."""
    if entry.kind != Kind.CARRIED:
        return entry.kind, entry.key
    kind, _, key = entry.key.partition("/")
    return kind, key


def _said_as(kind: str, key: str, body: Body) -> tuple[str, str]:
    """Return the kind and key under which an entry is told: what became of a wish has a kind of its own."""
    is_wish = kind == Kind.CONFIGURATION and key.startswith((IN_FORCE, REFUSED)) and body.get("after") is not None
    return (RECIPE_STATE, key) if is_wish else (kind, key)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _row(key: str, body: Body) -> dict[str, object]:
    """Return a row's columns; of one that was taken back, its key."""
    if body.get("withdrawn"):
        return {"key": key, "withdrawn": True}
    return {_RENAMED.get(name, name): _value(name, value) for name, value in sorted(body.items()) if _is_said(name)}


@lru_cache(maxsize=512)  # the columns of the tables; whatever somebody writes into a file is forgotten again
def _is_said(name: str) -> bool:
    is_monotonic = name.endswith("_s") and name not in _LENGTHS
    return (name not in _WITHHELD and not is_monotonic and not name.startswith(("x", "y", "first_", "last_"))) or (
        name in {"first_seen_utc", "last_seen_utc"}
    )


def _value(name: str, value: object) -> object:
    if value is None:
        return None
    if name.endswith("_utc") and isinstance(value, int | float):
        return iso_utc(value)
    if name in _FLAGS:
        return bool(value)
    if name in _JSON and isinstance(value, str):
        return json.loads(value) if value else None
    return value


def _event(key: str, body: Body) -> dict[str, object]:
    """Return an event with its best observation's box, in pixels and as shares of the frame."""
    said = _row(key, body)
    box = {name: body.get(name) for name in ("x1", "y1", "x2", "y2")}
    shares = {
        share: _share(box[name], body.get(size))
        for share, name, size in (
            ("left", "x1", "width"),
            ("top", "y1", "height"),
            ("right", "x2", "width"),
            ("bottom", "y2", "height"),
        )
    }
    outline: dict[str, object] = {} if body.get("outline") is None else {"outline": json.loads(str(body["outline"]))}
    if body.get("area_px") is not None:
        outline |= {"area_px": body["area_px"], "centre": [body.get("centre_x"), body.get("centre_y")]}
    return said if "withdrawn" in said else said | box | shares | outline


def _share(pixels: object, size: object) -> float | None:
    if not isinstance(pixels, int | float) or not isinstance(size, int | float) or not size:
        return None
    return round(pixels / size, 5)


def _configuration(key: str, body: Body) -> dict[str, object]:
    """Return what changed; who and which file are known to the box alone."""
    return {"key": key, **{name: body.get(name) for name in ("before", "after", "why")}}


def _recipe_state(key: str, body: Body) -> dict[str, object]:
    """Return whether a recipe that was asked for is in force, or why it is not; who asked is known to the box alone."""
    wish = RecordedWish.model_validate(body["after"])
    state = "refused" if key.startswith(REFUSED) else "in_force"
    return {
        "lane": key.partition("/")[2],
        "recipe": wish.recipe,
        "state": state,
        "reason": wish.reason,
        "wish": f"{JournalName.PARTS}:{wish.wish}",
        "door": wish.door,
    }


def _seal(_key: str, body: Body) -> dict[str, object]:
    """Return the head that somebody else should keep."""
    return {name: body[name] for name in ("entries", "head", "clock", "public_key", "signature") if name in body}


def _removal(_key: str, body: Body) -> dict[str, object]:
    said = {name: _value(name, body.get(name)) for name in ("removed_from", "rows", "from_utc", "to_utc", "why")}
    return said | {"through": body.get("through")}


_CONTENTS: Mapping[str, Callable[[str, Body], dict[str, object]]] = {
    Kind.EVENT: _event,
    Kind.CONFIGURATION: _configuration,
    RECIPE_STATE: _recipe_state,
    Kind.SEAL: _seal,
    Kind.REMOVAL: _removal,
}
