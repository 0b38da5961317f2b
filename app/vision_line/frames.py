# SPDX-License-Identifier: AGPL-3.0-or-later
"""The values passed between the rooms: frames, detections, defect events, intervals without inspection.

Times: a name that ends in `_s` is in seconds of the monotonic clock (`time.monotonic`), one that ends in `_utc` in
seconds since the Unix epoch. The two are never mixed or subtracted from each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from math import isnan
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]  # (n, 4) x1, y1, x2, y2 in pixels of the camera's frame
Outlines = NDArray[np.float32]  # (n, 4, 2) x, y of the corners of rotated boxes, likewise; not cut at the frame's edge
Scores = NDArray[np.float32]  # (n,) 0..1
ClassIds = NDArray[np.int32]  # (n,) index into the run's classes; of a device of one model, into that model's
Corners: TypeAlias = tuple[float, float, float, float]  # x1, y1, x2, y2 of one box, likewise
Outline: TypeAlias = tuple[float, ...]  # x, y, x, y ... of a rotated box's corners or around a mask, in this order

#: Names the run's own model among all that it has; a recipe's is named by its SHA-256.
OWN_MODEL = ""


class CameraState(StrEnum):
    """State of a camera. Stable: logged, shown and exported."""

    CONNECTING = "CONNECTING"
    RUNNING = "RUNNING"
    STALE = "STALE"
    FROZEN = "FROZEN"
    DEGRADED = "DEGRADED"
    RECONNECTING = "RECONNECTING"
    ENDED = "ENDED"
    REMOVED = "REMOVED"


#: States in which an inspected frame counts as an inspection. A frozen frame does not.
INSPECTING_STATES = frozenset({CameraState.RUNNING, CameraState.DEGRADED})


class DropCause(StrEnum):
    """Why a frame that arrived was not inspected. Stable: a column of the coverage ledger."""

    SUPERSEDED = "superseded"  # a newer frame of the camera came before a slot was free
    STALE = "stale"  # older than max_staleness_ms when a slot was free
    BEHIND = "behind"  # older than max_staleness_ms when it was read: the camera's queue was skipped
    SHED = "shed"  # not decoded, because the machine cannot decode all that arrives
    RATE_CAP = "rate_cap"  # beyond the camera's inspect_fps
    FROZEN = "frozen"  # the frame repeats: not an inspection
    CORRUPT = "corrupt"  # the decoder reported damage, or it came before the first keyframe
    LOG = "log"  # the detection log cannot be written, so a result would not be recorded
    SHUTDOWN = "shutdown"  # still pending when the program drained


class ColourMatrix(StrEnum):
    """Which matrix turns YCbCr into RGB (ITU-R BT.601, BT.709 or BT.2020 non-constant luminance)."""

    BT601 = "bt601"
    BT709 = "bt709"
    BT2020 = "bt2020"


class ColourRange(StrEnum):
    """Whether luma spans 16..235 (limited) or 0..255 (full)."""

    LIMITED = "limited"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Colour:
    """How to read a frame's YCbCr values; `assumed`: the stream did not say, the rule decided."""

    matrix: ColourMatrix
    range: ColourRange
    assumed: bool = False


@dataclass(slots=True)
class Frame:
    """One decoded frame of a camera, in the format of its decoder.

    `data` is the native frame: on the cpu device an `av.VideoFrame` (any YCbCr 4:2:0/4:2:2/4:4:4, grey or RGB
    format); it is read-only, and converted only when picked, straight into a batch slot. `sequence` counts the camera's
    decoded frames from 0, without gaps, over reconnections. `arrived_s` is when the frame's last packet had
    been read, and `behind_s` how much later that was than it would have been without any queue on the way, as
    estimated from the camera's clock. `camera_utc` is the camera's own clock from RTCP sender reports, None until one
    came.
    """

    camera: str
    sequence: int
    size_wh: tuple[int, int]
    colour: Colour
    data: Any  # object of the device's decoder; only the device and the records read it
    arrived_s: float
    arrived_utc: float
    decoded_s: float
    camera_utc: float | None = None
    pts_s: float | None = None
    keyframe: bool = False
    behind_s: float = 0.0

    @property
    def captured_s(self) -> float:
        """When the camera sent it: what ages, latencies and inspections count from."""
        return self.arrived_s - self.behind_s

    @property
    def captured_utc(self) -> float:
        """The same moment on our wall clock."""
        return self.arrived_utc - self.behind_s

    def without_data(self) -> Frame:
        """Return the frame without its pixels, for what outlives them."""
        # Not `dataclasses.replace`, which takes three times as long: it is called for every inspected frame.
        return Frame(
            self.camera,
            self.sequence,
            self.size_wh,
            self.colour,
            None,
            self.arrived_s,
            arrived_utc=self.arrived_utc,
            decoded_s=self.decoded_s,
            camera_utc=self.camera_utc,
            pts_s=self.pts_s,
            keyframe=self.keyframe,
            behind_s=self.behind_s,
        )


class MaskFigures(NamedTuple):
    """What a mask comes to: its area in square pixels, and the middle of that area; without one that of the box."""

    area_px: float
    centre_x: float
    centre_y: float


@dataclass(frozen=True, slots=True)
class Masks:
    """The masks of n detections as what is kept of them, in pixels of the camera's frame.

    `figures` (n, 3) are the columns of `MaskFigures`; `outlines` (n) the polygons around each mask's largest part,
    None where a mask has no pixel. Not-a-number: the mask was not computed, because the frame had too many large boxes.
    """

    figures: NDArray[np.float32]
    outlines: tuple[Outline | None, ...]

    @property
    def left_out(self) -> int:
        """How many were not computed."""
        return int(np.isnan(self.figures[:, 0]).sum())

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Masks:
        rows = np.arange(len(self.outlines))[index].tolist()
        return Masks(self.figures[index], tuple(self.outlines[row] for row in rows))


#: About how many bytes of memory a mask takes, with as many corners as there may be.
MASK_BYTES = 2400


@dataclass(slots=True)
class Detections:
    """Columns of n detections of one frame, in pixels of the camera's frame; checked once, then trusted.

    Of rotated boxes `outlines` are the corners, and `xyxy` the upright boxes around them, cut at the frame's edge;
    None: all boxes are upright. `masks` are those of a segmentation model, None of any other.
    Nobody changes them: not frozen, because several are made for every inspected frame.
    """

    xyxy: Boxes
    score: Scores
    class_id: ClassIds
    outlines: Outlines | None = None
    masks: Masks | None = None

    def __post_init__(self) -> None:
        """Check shapes and dtypes; a mismatch is a programming error."""
        n = len(self.score)
        if self.xyxy.shape != (n, 4) or self.score.shape != (n,) or self.class_id.shape != (n,):
            found = (self.xyxy.shape, self.score.shape, self.class_id.shape)
            raise ValueError(f"detections: expected shapes (n, 4), (n,), (n,), found {found}")
        if self.outlines is not None and self.outlines.shape != (n, 4, 2):
            raise ValueError(f"detections: expected outlines ({n}, 4, 2), found {self.outlines.shape}")
        if self.masks is not None and (self.masks.figures.shape != (n, 3) or len(self.masks.outlines) != n):
            raise ValueError(f"detections: expected masks of {n}, found {self.masks.figures.shape}")

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Detections:
        outlines = None if self.outlines is None else self.outlines[index]
        masks = None if self.masks is None else self.masks[index]
        return Detections(self.xyxy[index], self.score[index], self.class_id[index], outlines, masks)

    def outline(self, row: int) -> Outline | None:
        """Return the corners of one rotated box, or the polygon around one mask; None: it has only an upright box."""
        if self.masks is not None:
            return self.masks.outlines[row]
        return None if self.outlines is None else tuple(self.outlines[row].ravel().tolist())

    def mask(self, row: int) -> MaskFigures | None:
        """Return what one mask comes to; None: the model has no masks, or this one was not computed."""
        if self.masks is None:
            return None
        figures = MaskFigures(*self.masks.figures[row].tolist())
        return None if isnan(figures.area_px) else figures

    @staticmethod
    def empty() -> Detections:
        """Return no detections: always the same, since most frames show none and there is nothing to change in it."""
        return _NO_DETECTIONS


_NO_DETECTIONS = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32))


@dataclass(slots=True)
class Inspection:
    """A frame and its detections: what the device returns. Nobody changes one.

    `recipe` is the one under whose settings its detections count, "" without one. `criteria` is the number of those
    settings: another one after each change, also where the recipe stays. The device leaves both empty. `model` names
    the one that inspected: `OWN_MODEL`, or the SHA-256 of a recipe's.

    Not frozen: two are made for every inspected frame, and freezing takes four times as long.
    """

    frame: Frame
    detections: Detections
    submitted_s: float
    finished_s: float
    recipe: str = ""
    criteria: int = 0
    model: str = OWN_MODEL

    def evaluated(self, counting: Detections, recipe: str, criteria: int) -> Inspection:
        """Return it with the detections that count under these settings."""
        return Inspection(
            self.frame, counting, self.submitted_s, self.finished_s, recipe, criteria=criteria, model=self.model
        )


class Verdict(StrEnum):
    """What a defect event means for the part.

    ACCEPT: below the camera's `warn_threshold`, harmless. REJECT: a certain defect. WARN: in between.
    """

    ACCEPT = "accept"
    WARN = "warn"
    REJECT = "reject"


class EventPhase(StrEnum):
    """Phase of an event: it is confirmed once, may change, and ends once."""

    NEW = "new"
    UPDATE = "update"
    END = "end"


class Observation(NamedTuple):
    """A defect in one frame: the frame's number, the score, and the box in pixels.

    `outline` where the box is rotated or there is a mask, `mask` what this comes to.
    """

    sequence: int
    score: float
    xyxy: tuple[float, float, float, float]
    outline: Outline | None = None
    mask: MaskFigures | None = None


@dataclass(frozen=True, slots=True)
class DefectEvent:
    """One physical defect that crosses a camera's view, as known now.

    The same `event_id` comes with phase NEW once, UPDATE any number of times and END once. `score`, `xyxy`, `outline`,
    `mask` and `sequence` are of its best observation: the one that confirmed it, until an UPDATE brings a markedly
    better one.
    `top_score` is the highest score of all observations. `first` and `last` are the first and the latest observation;
    None: the best one. `verdict` never falls.
    """

    event_id: str
    phase: EventPhase
    camera: str
    class_id: int
    class_name: str
    verdict: Verdict
    score: float
    top_score: float
    xyxy: tuple[float, float, float, float]
    sequence: int
    hits: int
    first_seen_s: float
    first_seen_utc: float
    last_seen_s: float
    last_seen_utc: float
    first: Observation | None = None
    last: Observation | None = None
    outline: Outline | None = None
    mask: MaskFigures | None = None

    @property
    def best_observation(self) -> Observation:
        """The observation that the evidence image shows."""
        return Observation(self.sequence, self.score, self.xyxy, self.outline, self.mask)

    @property
    def first_observation(self) -> Observation:
        """Its first observation."""
        return self.first or self.best_observation

    @property
    def last_observation(self) -> Observation:
        """Its latest observation: the defect in the newest frame that showed it."""
        return self.last or self.best_observation


class ShownEvent(NamedTuple):
    """An event that a frame shows, as known now, and the frame's boxes that show it: those of its detections."""

    event: DefectEvent
    boxes: tuple[Corners, ...]


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """An object in one frame, and the track that it is part of: a defect, or a part that the model knows.

    `number` stays as long as it is followed; a camera's next settings begin to count anew. The class is the one with
    the highest sum of scores so far, `hits` counts the observations that reached their class's threshold; score and
    box, in pixels, are of this frame. `also` are the other classes that it was taken for more than once: a part and a
    defect that covers it are one object.
    """

    number: int
    class_name: str
    hits: int
    score: float
    xyxy: tuple[float, float, float, float]
    also: tuple[str, ...] = ()
    outline: Outline | None = None
    mask: MaskFigures | None = None


@dataclass(frozen=True, slots=True)
class NotInspected:
    """An interval in which a camera's view was not inspected, and why.

    `cause` is `camera:<STATE or error code>`, a constant of `inspection.coverage.causes`.
    `ended_*` are None while it lasts. The same `interval_id` is written again with its end, or with `withdrawn` when a
    late result showed that the time was inspected after all.
    """

    interval_id: str
    camera: str
    cause: str
    started_s: float
    started_utc: float
    ended_s: float | None = None
    ended_utc: float | None = None
    withdrawn: bool = False

    def beginning(self, at_s: float) -> NotInspected:
        """Return it with an earlier start, by the same clock."""
        return replace(self, started_s=at_s, started_utc=self.started_utc - (self.started_s - at_s))

    def ending(self, at_s: float) -> NotInspected:
        """Return it with its end, by the wall clock as set at the start, so that it cannot end before it starts."""
        return replace(self, ended_s=at_s, ended_utc=self.started_utc + (at_s - self.started_s))


@dataclass(frozen=True, slots=True)
class CoverageMinute:
    """The ledger's row for one camera and one UTC minute. Every frame that arrived is counted.

    arrived = inspected + sum(dropped.values()) + pending, where pending is the change in frames still waiting.
    While `provisional` the minute is not over, and the row will be written again; after a kill it stays as it is.
    `clock` counts the jumps of the wall clock in this run: a clock set back repeats a minute. `looked_utc` is the
    latest inspection, while provisional: after a kill, downtime may not have been found yet.
    """

    camera: str
    minute_utc: int  # seconds since the epoch, a multiple of 60
    arrived: int
    decoded: int
    inspected: int
    dropped: dict[DropCause, int] = field(default_factory=dict)
    not_inspected_s: float = 0.0
    reconnects: int = 0
    clock: int = 0
    provisional: bool = False
    looked_utc: float | None = None


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The wall clock was set while the program ran, or between two runs: at `at_s` from one UTC time to another."""

    clock: int  # number of steps so far, this one included; 0: before the run began
    at_s: float
    from_utc: float
    to_utc: float

    @property
    def step_s(self) -> float:
        """The jump, seconds; negative: set back."""
        return self.to_utc - self.from_utc

    def __str__(self) -> str:
        to = datetime.fromtimestamp(self.to_utc, UTC)
        way = "forward" if self.step_s > 0 else "back"
        return f"the wall clock was set {way} by {abs(self.step_s):.1f} s, to {to:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class StateChange:
    """A change of a camera's state; `code` is a `SourceErrorCode` value where an error caused it.

    `since_s` is the true start, where that is before `at_s`: a camera becomes FROZEN after its frames have repeated for
    a while, and nothing was inspected since the first repeat.
    """

    camera: str
    state: CameraState
    at_s: float
    at_utc: float
    code: str | None = None
    detail: str = ""
    since_s: float | None = None
