# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compares logged events with what the virtual cameras truly showed: defects found by size, false events, doubles.

Identity comes from time: the server logs when it sent each frame, and a frame arrives on the loopback interface within
milliseconds, so a logged detection belongs to the newest frame of its camera that had been sent when it arrived.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vision_line.errors import ConfigError
from vision_line.simulator.truth import Box, ClipTruth, DefectTruth, TrueBox

#: A detection hits a defect when their centres lie within this many pixels, or the boxes overlap at all.
CENTRE_PX = 16.0
#: Upper bounds of the size classes that recall is given for, longer side in pixels.
SIZE_BOUNDS_PX = (12.0, 18.0, 1e9)


def load_truth(path: Path) -> ClipTruth:
    """Read what a clip truly shows, a file of `write_truth`.

    Raises:
        ConfigError: the file is missing or is not a truth file.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return _truth(lines)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(f"{path}: not a ground-truth file of the simulator ({error})") from error


def _truth(lines: list[dict[str, Any]]) -> ClipTruth:
    head = lines[0]
    defects = [line for line in lines if line["record"] == "defect"]
    frames = [line for line in lines if line["record"] == "frame"]
    if [line["index"] for line in frames] != list(range(head["frames"])):
        raise ValueError(f"frames 0..{head['frames'] - 1} expected in order")
    return ClipTruth(
        clip_id=head["clip_id"],
        seed=head["seed"],
        fps=head["fps"],
        size_wh=(head["size_wh"][0], head["size_wh"][1]),
        speed_px_s=head["speed_px_s"],
        boards=head["boards"],
        defects=tuple(
            DefectTruth(line["defect_id"], line["board"], line["kind"], line["longer_side_px"]) for line in defects
        ),
        frames=tuple(tuple(_true_box(seen) for seen in line["defects"]) for line in frames),
    )


def _true_box(seen: dict[str, Any]) -> TrueBox:
    x0, y0, x1, y1 = (float(side) for side in seen["xyxy"])
    return TrueBox(seen["defect_id"], seen["kind"], (x0, y0, x1, y1), seen["visible"])


class SentFrame(NamedTuple):
    """A frame as the server logged it."""

    sent_utc: float
    loop: int
    position: int  # in the clip


#: From one UTC time to another.
Span = tuple[float, float]


class LoggedDetection(NamedTuple):
    """A row of the detection log that belongs to an event."""

    event_id: str
    camera: str
    class_name: str
    arrived_utc: float
    xyxy: Box


class Pass(NamedTuple):
    """One defect crossing one camera's view once; `number` counts a defect's passes."""

    camera: str
    defect_id: int
    number: int


@dataclass(frozen=True, slots=True)
class Score:
    """How a run did. `passes` counts the defects that crossed the view wholly inside the scored time."""

    passes: int
    found: int
    misclassified: int
    split: int
    false_events: int
    events: int
    boards: int
    found_by_size: Mapping[str, tuple[int, int]]
    missed: tuple[str, ...]

    @property
    def recall(self) -> float:
        """Found share of the defects that crossed; 1 when none did."""
        return self.found / self.passes if self.passes else 1.0


def read_sent_log(path: Path) -> dict[str, list[SentFrame]]:
    """Read the server's log; frames by camera, in the order they were sent."""
    frames: defaultdict[str, list[SentFrame]] = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):  # the last line may still be being written
                entry = json.loads(line)
                frames[entry["camera"]].append(SentFrame(entry["sent_utc_s"], entry["loop"], entry["index"]))
    return dict(frames)


def score_events(
    detections: Iterable[LoggedDetection],
    sent: Mapping[str, Sequence[SentFrame]],
    truths: Mapping[str, ClipTruth],
    from_utc: float,
    until_utc: float,
    unseen: Mapping[str, Sequence[Span]] | None = None,
) -> Score:
    """Score the events whose detections are given.

    Args:
        detections: every detection that belongs to an event, any order.
        sent: frames by camera, in order.
        truths: each camera's clip.
        from_utc: passes that began before are not counted as passes (their events are not false either).
        until_utc: the same for passes that had not ended by then.
        unseen: by camera, when it was not inspected; a pass that any of it lies in is not counted as one.
    """
    events = _match_events(detections, sent, truths)
    timeline = {camera: _passes(camera, sent[camera], truths[camera]) for camera in sent}
    # What a camera's first frame shows had begun to cross before anybody could look.
    whole = {
        one: span
        for camera, passes in timeline.items()
        for one, span in passes.items()
        if span[0] > sent[camera][0].sent_utc
        and _inside(span, from_utc, until_utc)
        and not any(begun <= span[1] and span[0] <= over for begun, over in (unseen or {}).get(camera, ()))
    }
    hits: defaultdict[Pass, list[str]] = defaultdict(list)
    false_events = 0
    for found in events.values():
        if found is None:
            false_events += 1
        else:
            hits[found[0]].append(found[1])
    sizes = {(c, d.defect_id): (d.longer_side_px, d.kind) for c, t in truths.items() for d in t.defects}
    by_size: defaultdict[str, list[bool]] = defaultdict(list)
    for one in whole:
        by_size[_size_class(sizes[one.camera, one.defect_id][0])].append(one in hits)
    found_passes = [p for p in whole if p in hits]
    return Score(
        passes=len(whole),
        found=len(found_passes),
        misclassified=sum(sizes[p.camera, p.defect_id][1] not in hits[p] for p in found_passes),
        split=sum(len(hits[p]) > 1 for p in found_passes),
        false_events=false_events,
        events=len(events),
        boards=sum(_boards_passed(sent[c], truths[c], from_utc, until_utc) for c in sent),
        found_by_size={name: (sum(flags), len(flags)) for name, flags in sorted(by_size.items())},
        missed=tuple(_described(p, sizes[p.camera, p.defect_id]) for p in whole if p not in hits),
    )


def _match_events(
    detections: Iterable[LoggedDetection], sent: Mapping[str, Sequence[SentFrame]], truths: Mapping[str, ClipTruth]
) -> dict[str, tuple[Pass, str] | None]:
    """Give each event the pass that most of its detections hit, with its class; None when none hit anything."""
    votes: defaultdict[str, Counter[Pass]] = defaultdict(Counter)
    classes: dict[str, str] = {}
    times = {camera: [frame.sent_utc for frame in frames] for camera, frames in sent.items()}
    begun_before = {camera: _begun_before(truth) for camera, truth in truths.items()}
    for row in detections:
        classes[row.event_id] = row.class_name
        place = sent[row.camera], times[row.camera], truths[row.camera], begun_before[row.camera]
        votes[row.event_id].update(_hit(row, *place))
    return {event: (most[0][0], classes[event]) if (most := votes[event].most_common(1)) else None for event in classes}


def _hit(
    row: LoggedDetection,
    frames: Sequence[SentFrame],
    times: Sequence[float],
    truth: ClipTruth,
    begun_before: Mapping[int, int],
) -> Iterator[Pass]:
    position = bisect_right(times, row.arrived_utc) - 1
    # An arrival under load may be noted a frame late: the two frames before count too, the nearest defect wins.
    near = [
        (_distance(row.xyxy, box.xyxy), box, frames[p])
        for p in range(max(0, position - 2), position + 1)
        for box in truth.frames[frames[p].position]
    ]
    hits = [item for item in near if item[0] <= CENTRE_PX or _overlap(row.xyxy, item[1].xyxy)]
    if hits:
        _, box, frame = min(hits, key=lambda item: item[0])
        yield Pass(row.camera, box.defect_id, _pass_number(box, frame, begun_before))


def _begun_before(truth: ClipTruth) -> dict[int, int]:
    """Return for each defect in view at the loop's seam the first frame, from 0, that does not go on showing it."""
    shown = [{box.defect_id for box in boxes} for boxes in truth.frames]
    return {
        defect_id: next((index for index, seen in enumerate(shown) if defect_id not in seen), len(shown))
        for defect_id in shown[-1]
    }


def _pass_number(box: TrueBox, frame: SentFrame, begun_before: Mapping[int, int]) -> int:
    """Number a defect's passes; one that is in view at the loop's seam belongs to the loop it began in."""
    return frame.loop - 1 if frame.position < begun_before.get(box.defect_id, 0) else frame.loop


def _passes(camera: str, frames: Sequence[SentFrame], truth: ClipTruth) -> dict[Pass, tuple[float, float]]:
    """Return each pass with the UTC times of its first and last frame."""
    spans: dict[Pass, tuple[float, float]] = {}
    begun_before = _begun_before(truth)
    for frame in frames:
        for box in truth.frames[frame.position]:
            one = Pass(camera, box.defect_id, _pass_number(box, frame, begun_before))
            spans[one] = (spans.get(one, (frame.sent_utc, 0.0))[0], frame.sent_utc)
    return spans


def _inside(span: tuple[float, float], from_utc: float, until_utc: float) -> bool:
    return span[0] >= from_utc and span[1] <= until_utc


def _boards_passed(frames: Sequence[SentFrame], truth: ClipTruth, from_utc: float, until_utc: float) -> int:
    counted = sum(from_utc <= frame.sent_utc <= until_utc for frame in frames)
    return round(truth.boards * counted / len(truth.frames))


def _size_class(longer_side_px: float) -> str:
    lower = 0.0
    for upper in SIZE_BOUNDS_PX:
        if longer_side_px < upper:
            return f"{lower:02.0f}-{upper:.0f} px" if upper < 1e9 else f"{lower:02.0f} px and more"
        lower = upper
    raise ValueError(longer_side_px)


def _distance(a: Box, b: Box) -> float:
    dx = (a[0] + a[2] - b[0] - b[2]) / 2
    dy = (a[1] + a[3] - b[1] - b[3]) / 2
    return float((dx * dx + dy * dy) ** 0.5)


def _overlap(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


def _described(one: Pass, facts: tuple[float, str]) -> str:
    return f"{one.camera} defect {one.defect_id} pass {one.number}: {facts[1]}, {facts[0]:.0f} px"
