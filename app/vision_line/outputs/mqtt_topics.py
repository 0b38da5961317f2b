# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which topics a message goes to, and what is retained: states are, events never. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from vision_line.config.output_settings import OutputSettings
from vision_line.outputs.message_sink import ShownState
from vision_line.outputs.notification import ALARM, Notification, is_wanted
from vision_line.parts.orders import LOT, RECIPE
from vision_line.records.formats import iso_utc
from vision_line.records.journal import Kind

#: Where a kind has another word for it than the journal.
_TOPIC: Mapping[str, str] = {Kind.MINUTE: "coverage", Kind.CAMERA: "settings", Kind.SEAL: "journal/head"}
_RETAINED = frozenset({Kind.STATE, Kind.RUN, Kind.SEAL, LOT, RECIPE, ALARM})
#: What a level of a topic may be: the name of a camera or lane. Commands come in below `cmd`.
_LEVEL = re.compile(r"(?!cmd$)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OPEN = "not_inspected"


@dataclass(frozen=True, slots=True)
class Publication:
    """What goes to a topic below the prefix; an empty payload takes a retained one away."""

    topic: str
    payload: bytes
    retain: bool = False


def status_payload(state: str, host: str, version: str, at_utc: float, reason: str = "") -> bytes:
    """Return what `status` says: `online` or `offline`, and why."""
    said = {"schema": "vision-line.status/1", "state": state, "host": host, "version": version}
    moment = {"time": iso_utc(at_utc)} if state == "online" else {"reason": reason}
    return json.dumps(said | moment, separators=(",", ":")).encode()


class MqttTopics:
    """Knows which intervals are open, so that the topic that shows one is cleared with the last."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, bytes]] = {}

    def of(self, said: Notification, sent_utc: float) -> Iterator[Publication]:
        """Yield what is published of a message."""
        payload = said.as_json(sent_utc)
        yield Publication(_topic_of(said), payload, retain=said.kind in _RETAINED)
        if said.kind == Kind.INTERVAL and said.camera is not None and _LEVEL.fullmatch(said.camera):
            yield self._not_inspected(said, said.camera, payload)

    def of_state(self, state: ShownState, settings: OutputSettings, sent_utc: float) -> Iterator[Publication]:
        """Yield all that is retained of cameras and lanes, as it is now, and that the output asks for.

        What it does not ask for would never be renewed: the topic would go on to say what was once.
        """
        self._open.clear()
        for said in state.intervals:
            if said.camera is not None:
                self._open.setdefault(said.camera, {})[_interval_of(said)] = said.as_json(sent_utc)
        for said in state.cameras:
            if is_wanted(settings, said):
                yield Publication(_topic_of(said), said.as_json(sent_utc), retain=True)
            if said.camera is not None and is_wanted(settings, replace(said, kind=Kind.INTERVAL)):
                yield self._shown(said.camera)
        for said in state.orders:
            if is_wanted(settings, said):
                yield Publication(_topic_of(said), said.as_json(sent_utc), retain=True)

    def _not_inspected(self, said: Notification, camera: str, payload: bytes) -> Publication:
        of_camera = self._open.setdefault(camera, {})
        if said.content.get("withdrawn") or said.content.get("ended_utc") is not None:
            of_camera.pop(_interval_of(said), None)
        else:
            of_camera[_interval_of(said)] = payload
        return self._shown(camera)

    def _shown(self, camera: str) -> Publication:
        payloads = list(self._open.get(camera, {}).values())
        return Publication(f"{camera}/{_OPEN}", payloads[-1] if payloads else b"", retain=True)


def _interval_of(said: Notification) -> str:
    return str(said.content.get("interval_id") or said.content.get("key"))


def _topic_of(said: Notification) -> str:
    """Return the topic of a message; what has no camera or lane, or one whose name can be no level, is the line's."""
    name = _TOPIC.get(said.kind, said.kind)
    whose = said.lane if said.camera is None else said.camera
    is_level = whose is not None and _LEVEL.fullmatch(whose) is not None
    return f"{whose}/{name}" if is_level and said.kind != Kind.CONFIGURATION else name
