# SPDX-License-Identifier: AGPL-3.0-or-later
"""From the feed's headers to what lanes take; moments become those of the light, `delay_s` before. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from vision_line.feed.protocol import Header
from vision_line.frames import EventPhase, TrackedObject, Verdict
from vision_line.lanes.crossing_watch import ObjectsFrame
from vision_line.lanes.sights import EventFacts, InspectedFacts


def inspected_facts(header: Header, delay_s: float) -> InspectedFacts:
    """Return the inspected frame of a `result`."""
    classes = frozenset(str(box["class"]) for box in header["boxes"])
    at_s = float(header["arrived_s"]) - float(header["behind_s"]) - delay_s
    recipe, criteria = str(header.get("recipe", "")), int(header.get("criteria", 0))
    return InspectedFacts(str(header["camera"]), at_s, classes, recipe, criteria)


def objects_frame(header: Header, delay_s: float) -> ObjectsFrame | None:
    """Return the objects that a `result` follows, None where the run is older and does not say."""
    if "tracks" not in header:
        return None
    objects = tuple(
        TrackedObject(
            number=int(one["track"]),
            class_name=str(one["class"]),
            hits=int(one["hits"]),
            score=float(one["score"]),
            xyxy=(float(one["box"][0]), float(one["box"][1]), float(one["box"][2]), float(one["box"][3])),
            also=tuple(map(str, one.get("also", ()))),
        )
        for one in header["tracks"]
    )
    at_s = float(header["arrived_s"]) - float(header["behind_s"]) - delay_s
    return ObjectsFrame(at_s, (int(header["width"]), int(header["height"])), int(header.get("criteria", 0)), objects)


def events_of_result(header: Header, delay_s: float) -> Iterator[EventFacts]:
    """Yield the events that a `result` shows, also those that began before anybody listened, and its changes.

    A run that is older does not say what it shows.
    """
    for fields in (*header.get("shown", ()), *header["events"]):
        yield event_facts(str(header["camera"]), fields, delay_s)


def event_facts(camera: str, fields: Header, delay_s: float) -> EventFacts:
    """Return the event of a `decision`, or of one change in a `result`."""
    return EventFacts(
        camera=camera,
        event_id=str(fields["event_id"]),
        class_name=str(fields["class"]),
        verdict=Verdict(str(fields["verdict"])),
        score=float(fields["top_score"]),
        first_s=float(fields["first_seen_s"]) - delay_s,
        last_s=float(fields["last_seen_s"]) - delay_s,
        is_over=fields["phase"] == EventPhase.END,
    )
