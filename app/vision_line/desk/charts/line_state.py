# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which model and settings a line inspected with at some moment, and what has changed between two: in plain words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from vision_line.desk.plain_words import masked
from vision_line.records.journal import canonical
from vision_line.records.records import Records
from vision_line.reviews.baseline_entries import ChartScope

#: Whether a camera, by its name and station, is among those that are asked about.
IsOf = Callable[[str, str], bool]

#: So much of a digest tells two models apart.
_DIGITS = 12

_MODEL = "SELECT model_name, model_sha256 FROM runs WHERE started_utc <= ? ORDER BY started_utc DESC LIMIT 1"
#: The rows of each camera in the run that was the newest then, the newest last.
_SETTINGS = """SELECT name, station, settings, model_name, model_sha256 FROM cameras
    WHERE run = (SELECT run FROM runs WHERE started_utc <= ? ORDER BY started_utc DESC LIMIT 1) AND since_utc <= ?
    ORDER BY name, since_utc"""


@dataclass(frozen=True, slots=True)
class LineState:
    """A model and the settings of the cameras that were asked about, by camera and key."""

    model_name: str
    model_sha256: str
    settings: Mapping[str, Mapping[str, object]]

    @property
    def settings_sha256(self) -> str:
        """The settings' digest."""
        return sha256(canonical(dict(self.settings)).encode()).hexdigest()


def cameras_of(scope: ChartScope) -> IsOf:
    """Return which cameras a chart of events is of."""
    return lambda camera, station: scope.camera in ("", camera) and scope.station in ("", station)


def read_line_state(connection: Records, is_of: IsOf, utc: float) -> LineState:
    """Return what was in force at a moment.

    Raises:
        Error: the database's, as it comes.
    """
    name, sha256_of = connection.execute(_MODEL, (utc,)).fetchone() or ("", "")
    found: dict[str, Mapping[str, object]] = {}
    rows = connection.execute(_SETTINGS, (utc, utc)).fetchall()
    newest = {camera: said for camera, *said in rows}
    for camera, (station, text, model, sha256_there) in newest.items():
        if is_of(camera, station):
            named = {} if sha256_there in ("", sha256_of) else {"model": f"{model} ({sha256_there[:_DIGITS]})"}
            found[camera] = {**_settings(text), **named}
    return LineState(name, sha256_of, found)


def changes_since(then: LineState, now: LineState, digests: tuple[str, str]) -> list[str]:
    """Return in plain words what is otherwise now than then, when model and settings had these digests."""
    changes = [*_model_change(then, now), *_camera_changes(then.settings, now.settings)]
    if (now.model_sha256, now.settings_sha256) != digests and not changes:  # the rows of then were removed
        return ["the model or the settings are no longer those that were in force then"]
    return changes


def _settings(text: str) -> Mapping[str, object]:
    said = masked(json.loads(text)) if text else {}
    return said if isinstance(said, dict) else {"settings": said}


def _model_change(then: LineState, now: LineState) -> list[str]:
    if then.model_sha256 == now.model_sha256:
        return []
    before, after = (f"{one.model_name} ({one.model_sha256[:_DIGITS]})" for one in (then, now))
    return [f"another model inspects: {after}, then it was {before}"]


def _camera_changes(then: Mapping[str, Mapping[str, object]], now: Mapping[str, Mapping[str, object]]) -> Sequence[str]:
    return [
        *(f"{name} was not there then" for name in now if name not in then),
        *(f"{name} is not there any more" for name in then if name not in now),
        *(
            f"{name}: {key} is {_shown(now[name], key)}, then it was {_shown(then[name], key)}"
            for name in now
            if name in then
            for key in sorted({*then[name], *now[name]})
            if then[name].get(key) != now[name].get(key)
        ),
    ]


def _shown(settings: Mapping[str, object], key: str) -> str:
    return json.dumps(settings[key], ensure_ascii=False) if key in settings else "not set"
