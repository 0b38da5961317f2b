# SPDX-License-Identifier: AGPL-3.0-or-later
"""The headers of what a run sends; docs/feed.md explains each key. Pure.

No camera's URL is among them, so no message can hold a password.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vision_line.feed.protocol import PROTOCOL, Header
from vision_line.frames import (
    Corners,
    DefectEvent,
    Detections,
    Inspection,
    MaskFigures,
    Observation,
    Outline,
    ShownEvent,
    TrackedObject,
)
from vision_line.ports import EncodedVideo, VideoPacket

#: As in the records: what float32 holds beyond it is noise.
SCORE_DIGITS = 4
BOX_DIGITS = 2
#: What is said of an event with each frame that shows it.
_SHOWN = ("event_id", "phase", "class", "verdict", "top_score", "first_seen_s", "last_seen_s")


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """Constants of a run, for `hello`."""

    run: str  # as `run_id` in the records
    version: str
    schema: int  # of the record file
    started_utc: float
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a decoder or a muxer needs to know of one connection's video before its first frame."""

    connection: int  # counts the connections of this camera that the feed has seen
    codec: str  # FFmpeg's name of it
    size_wh: tuple[int, int]  # 0, 0 where only the stream's own parameter sets say
    extradata: bytes


@dataclass(slots=True)
class TappedFrame:
    """An encoded frame as its camera's thread hands it over; its packet is changed by nobody.

    `packet` is None for damage of which nothing is left. `lost` is how many frames of the camera could not be handed
    over so far.
    """

    camera: str
    video: VideoFacts
    packet: VideoPacket | None
    keyframe: bool
    damaged: bool
    arrived_s: float
    arrived_utc: float
    pts_s: float | None
    camera_utc: float | None
    lost: int

    @property
    def size(self) -> int:
        """About how many bytes it holds."""
        return 300 + (0 if self.packet is None else self.packet.size)


@dataclass(frozen=True, slots=True)
class InspectedResult:
    """An inspected frame without its pixels, the changes of events that it brought, and what it shows."""

    camera: str
    sequence: int
    size_wh: tuple[int, int]
    arrived_s: float
    arrived_utc: float
    behind_s: float
    pts_s: float | None
    finished_s: float
    detections: Detections
    events: tuple[DefectEvent, ...]
    shown: tuple[ShownEvent, ...]
    tracks: tuple[TrackedObject, ...]
    recipe: str
    criteria: int
    model: str
    of_keyframe: bool  # whether the feed saw the frame come as a keyframe


def result_of(
    inspection: Inspection,
    events: Sequence[DefectEvent],
    shown: Sequence[ShownEvent],
    tracks: Sequence[TrackedObject],
    *,
    of_keyframe: bool,
) -> InspectedResult:
    """Return what is kept of an inspection: its frame's pixels would be the decoder's or the device's memory."""
    frame = inspection.frame
    return InspectedResult(
        camera=frame.camera,
        sequence=frame.sequence,
        size_wh=frame.size_wh,
        arrived_s=frame.arrived_s,
        arrived_utc=frame.arrived_utc,
        behind_s=frame.behind_s,
        pts_s=frame.pts_s,
        finished_s=inspection.finished_s,
        detections=inspection.detections,
        events=tuple(events),
        shown=tuple(shown),
        tracks=tuple(tracks),
        recipe=inspection.recipe,
        criteria=inspection.criteria,
        model=inspection.model,
        of_keyframe=of_keyframe,
    )


def video_facts(origin: EncodedVideo, connection: int) -> VideoFacts:
    """Read what `origin` says of its video; in the camera's thread, which may be changing it otherwise."""
    context = origin.codec_context
    return VideoFacts(connection, context.name, (context.width, context.height), bytes(context.extradata or b""))


def hello_header(facts: FeedFacts, cameras: Sequence[str], journal: int, wants: Sequence[str]) -> Header:
    """Return the first message of every connection; `wants` are the keys that a client may say."""
    return {
        "kind": "hello",
        "protocol": PROTOCOL,
        "version": facts.version,
        "schema": facts.schema,
        "run": facts.run,
        "started_utc": facts.started_utc,
        "classes": facts.classes,
        "cameras": cameras,
        "journal": journal,
        "wants": wants,
    }


def video_header(camera: str, video: VideoFacts) -> Header:
    """Return what comes before a connection's first frame; the payload is the extradata."""
    width, height = video.size_wh
    return {
        "kind": "video",
        "camera": camera,
        "connection": video.connection,
        "codec": video.codec,
        "width": width,
        "height": height,
    }


def frame_header(frame: TappedFrame, *, intact: bool) -> Header:
    """Return what comes with an encoded frame; the payload is its packet."""
    return {
        "kind": "frame",
        "camera": frame.camera,
        "connection": frame.video.connection,
        "keyframe": frame.keyframe,
        "intact": intact,
        "arrived_s": frame.arrived_s,
        "arrived_utc": frame.arrived_utc,
        "pts_s": frame.pts_s,
        "camera_utc": frame.camera_utc,
    }


def result_header(result: InspectedResult, classes: Sequence[str], *, is_brief: bool = False) -> Header:
    """Return an inspected frame's boxes, and if it is not brief its events, their changes and the followed objects."""
    header = {
        "kind": "result",
        "camera": result.camera,
        "sequence": result.sequence,
        "width": result.size_wh[0],
        "height": result.size_wh[1],
        "arrived_s": result.arrived_s,
        "arrived_utc": result.arrived_utc,
        "behind_s": result.behind_s,
        "pts_s": result.pts_s,
        "finished_s": result.finished_s,
        "recipe": result.recipe,
        "criteria": result.criteria,
        "model": result.model,
        "boxes": _boxes(result.detections, result.shown, classes),
    }
    if is_brief:
        return header
    return {
        **header,
        "events": [event_fields(event) for event in result.events],
        "shown": [_shown_fields(shown.event) for shown in result.shown],
        "tracks": [_track_fields(one) for one in result.tracks],
    }


def decision_header(event: DefectEvent, at_s: float) -> Header:
    """Return a change of an event, as it was decided at `at_s`."""
    return {"kind": "decision", "camera": event.camera, "at_s": at_s, **event_fields(event)}


def event_fields(event: DefectEvent) -> Header:
    """Return an event by the names that the records have."""
    return {
        "event_id": event.event_id,
        "phase": event.phase,
        "class": event.class_name,
        "verdict": event.verdict,
        "top_score": round(float(event.top_score), SCORE_DIGITS),
        "hits": event.hits,
        "first_seen_s": event.first_seen_s,
        "first_seen_utc": event.first_seen_utc,
        "last_seen_s": event.last_seen_s,
        "last_seen_utc": event.last_seen_utc,
        "best": _observation(event.best_observation),
        "last": _observation(event.last_observation),
    }


def _shown_fields(event: DefectEvent) -> Header:
    """Return what comes with each frame that shows an event: it is short."""
    fields = event_fields(event)
    return {name: fields[name] for name in _SHOWN}


def _track_fields(one: TrackedObject) -> Header:
    return {
        "track": one.number,
        "class": one.class_name,
        "also": list(one.also),
        "hits": one.hits,
        "score": round(float(one.score), SCORE_DIGITS),
        "box": [round(float(value), BOX_DIGITS) for value in one.xyxy],
        **_outlined(one.outline),
        **_masked(one.mask),
    }


def _observation(observation: Observation) -> Header:
    return {
        "sequence": observation.sequence,
        "score": round(float(observation.score), SCORE_DIGITS),
        "box": [round(float(value), BOX_DIGITS) for value in observation.xyxy],
        **_outlined(observation.outline),
        **_masked(observation.mask),
    }


def _outlined(outline: Outline | None) -> Header:
    """Return the corners of a rotated box or around a mask; nothing of an upright one."""
    return {} if outline is None else {"outline": [round(float(value), BOX_DIGITS) for value in outline]}


def _masked(mask: MaskFigures | None) -> Header:
    """Return area and middle of a mask; nothing where there is none."""
    if mask is None:
        return {}
    area, *centre = (round(float(value), BOX_DIGITS) for value in mask)
    return {"area_px": area, "centre": centre}


def _boxes(found: Detections, shown: Sequence[ShownEvent], classes: Sequence[str]) -> list[Header]:
    """Return the detections, each with the event that it shows and its verdict as known now; null: it shows none."""
    if not len(found):
        return []
    events: dict[Corners, DefectEvent] = {box: one.event for one in shown for box in one.boxes}
    exact = found.xyxy.astype(np.float64)
    scores = found.score.astype(np.float64).round(SCORE_DIGITS).tolist()
    return [
        {
            "class": _class_name(number, classes),
            "score": score,
            "box": box,
            **_outlined(found.outline(row)),
            **_masked(found.mask(row)),
            **_decided(events.get(tuple(corners))),
        }
        for row, (number, score, box, corners) in enumerate(
            zip(found.class_id.tolist(), scores, exact.round(BOX_DIGITS).tolist(), exact.tolist(), strict=True)
        )
    ]


def _decided(event: DefectEvent | None) -> Header:
    if event is None:
        return {"event_id": None, "verdict": None}
    return {"event_id": event.event_id, "verdict": event.verdict}


def _class_name(number: int, classes: Sequence[str]) -> str:
    return classes[number] if 0 <= number < len(classes) else f"class {number}"
