# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counters and measurements of one camera."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vision_line.frames import CameraState, DefectEvent, DropCause, EventPhase, Inspection, StateChange, Verdict
from vision_line.ingest.lifecycle import ReconnectCount
from vision_line.ingest.mailbox import MailboxCounts
from vision_line.ingest.shedding import DecodeLoad
from vision_line.telemetry.covered import Covered
from vision_line.telemetry.latency_histogram import Counts, LatencyHistogram, Quantiles, quantiles_of
from vision_line.telemetry.snapshot import RATES_OVER_S, CameraSnapshot, ModelInUse, RecipeInForce


class SlidingRates:
    """Keeps samples of named counters and returns the rate of each. Used by one thread.

    Memory is bounded: samples closer than a `RESOLUTION`-th of the window replace each other.
    """

    RESOLUTION = 16

    def __init__(self, window_s: float = 5.0) -> None:
        """Start empty; rates cover the last `window_s` seconds, or less at the start."""
        self._window_s = window_s
        self._samples: deque[tuple[float, Mapping[str, float]]] = deque()

    def sample(self, now_s: float, counters: Mapping[str, float]) -> dict[str, float]:
        """Note the counters and return the growth of each per second; 0 at the first sample.

        A counter that was missing in the older sample counts as having been 0.
        """
        samples = self._samples
        while len(samples) > 1 and samples[1][0] <= now_s - self._window_s:
            samples.popleft()
        past_s, past = samples[0] if samples else (now_s, counters)
        if not samples or now_s - samples[-1][0] >= self._window_s / self.RESOLUTION:
            samples.append((now_s, dict(counters)))
        elapsed_s = now_s - past_s
        if elapsed_s <= 0:
            return dict.fromkeys(counters, 0.0)
        return {name: max(0.0, (value - past.get(name, 0)) / elapsed_s) for name, value in counters.items()}


class EventKind(NamedTuple):
    """What events are counted by."""

    class_name: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class CameraTotals:
    """One camera over the whole run."""

    name: str
    state: CameraState
    arrived: int
    decoded: int
    inspected: int
    detections: int
    events: int
    reconnects: int
    dropped: Mapping[DropCause, int]
    most_behind_ms: float  # of any frame, inspected or not
    latency: Counts = field(compare=False)  # of every inspected frame
    behind: Counts = field(compare=False)  # a part of it
    ended_events: Mapping[EventKind, int] = field(default_factory=dict)
    inspected_utc: float | None = None  # when the newest inspected frame was captured; None before the first
    abandoned: int = 0  # connections that hung and were given up
    code: str | None = None  # if an error caused the state
    needed_fps: float = 0.0  # 0: no required rate
    recipe: str = ""  # in force now
    model: ModelInUse = field(default_factory=ModelInUse)
    covered: Covered = field(default_factory=Covered)

    @property
    def is_expected(self) -> bool:
        """Whether inspection is due: not once it was removed, nor of a file that ended properly."""
        return self.state not in _OVER or (self.state is CameraState.ENDED and self.code is not None)

    @property
    def latency_ms(self) -> Quantiles | None:
        """Quantiles of the latency; None when nothing was inspected."""
        return quantiles_of(self.latency)

    @property
    def behind_ms(self) -> Quantiles | None:
        """Quantiles of the part of it that frames waited in queues on the way."""
        return quantiles_of(self.behind)


#: States in which no inspection is due.
_OVER = frozenset({CameraState.ENDED, CameraState.REMOVED})


@dataclass(frozen=True, slots=True)
class RequiredRate:
    """Inspections per second that a camera needs, and that tolerate a missed detection; 0: any rate."""

    needed_fps: float = 0.0
    spare_fps: float = 0.0


@dataclass(frozen=True, slots=True)
class CameraCounters:
    """What is read of a camera for each snapshot; it began at zero when the camera was made."""

    counts: Callable[[], MailboxCounts]  # of its mailbox
    abandoned: Callable[[], tuple[int, int]] = lambda: (0, 0)  # connections that were, and those that still hang
    load: DecodeLoad = field(default_factory=DecodeLoad)  # says how late frames come
    is_unverified: bool = False


class CameraMetrics:
    """Counters and latencies of one camera, over all its connections.

    `inspected`, `detections` and `event` belong to the scheduler's thread; `state` and `attach` to the event loop;
    `snapshot` to the one thread that makes snapshots (it keeps the sliding rates); `totals` to anyone.
    """

    def __init__(self, name: str, counters: CameraCounters) -> None:
        self.name = name
        self.latency = LatencyHistogram()
        self.behind = LatencyHistogram()
        self._counters = counters
        self._pace = RequiredRate()
        self._recipe = RecipeInForce()
        self._model = ModelInUse()
        self._before = MailboxCounts()  # up to the last `attach`, like the next two
        self._abandoned_before = 0
        self._most_behind_s = 0.0
        self._rates = SlidingRates(RATES_OVER_S)
        self._first_result_s: float | None = None
        self._due_since_s: float | None = None  # None: no inspection is due
        self._due_s = 0.0
        self._change = StateChange(name, CameraState.CONNECTING, 0.0, 0.0)
        self._newest: tuple[int, float, float] | None = None  # sequence, captured_s, captured_utc
        self._inspected = 0
        self._detections = 0
        self._events = 0
        self._ended_events: Mapping[EventKind, int] = {}
        self._reconnects = ReconnectCount()

    def inspected(self, inspection: Inspection, now_s: float) -> float:
        """Count a frame whose result was handed to the outputs at `now_s`; return its latency in ms."""
        frame = inspection.frame
        latency_ms = (now_s - frame.captured_s) * 1000.0
        self.latency.record(latency_ms, now_s)
        self.behind.record(frame.behind_s * 1000.0, now_s)
        self._inspected += 1
        if self._first_result_s is None:
            self._first_result_s = now_s
        self._newest = (frame.sequence, frame.captured_s, frame.captured_utc)
        return latency_ms

    def detections(self, n: int) -> None:
        """Count the detections of a frame that passed the filter."""
        self._detections += n

    def event(self, event: DefectEvent) -> None:
        """Count a defect when it is new, and by its final verdict when it has ended."""
        if event.phase is EventPhase.NEW:
            self._events += 1
        elif event.phase is EventPhase.END:
            kind, ended = EventKind(event.class_name, event.verdict), self._ended_events
            # A new mapping instead of a changed one: another thread may be reading the old one.
            self._ended_events = {**ended, kind: ended.get(kind, 0) + 1}

    def state(self, change: StateChange) -> None:
        """Note a new state."""
        self._reconnects.saw(change.state)
        self._change = change
        if change.state not in _OVER:
            self._due_since_s = change.at_s if self._due_since_s is None else self._due_since_s
        elif self._due_since_s is not None:
            self._due_s += change.at_s - self._due_since_s
            self._due_since_s = None

    def attach(self, counters: CameraCounters) -> None:
        """Continue with a new mailbox and camera that start at zero; the old counts are kept."""
        self._before = self._counts()
        self._abandoned_before += self._counters.abandoned()[0]
        self._most_behind_s = max(self._most_behind_s, self._counters.load.most_behind_s)
        self._counters = counters

    def evaluate_by(self, pace: RequiredRate, recipe: str, model: ModelInUse, at_utc: float) -> None:
        """Note which rate it needs, which recipe, "" for none, is in force, and which model inspects from now on."""
        self._pace, self._model = pace, model
        if recipe != self._recipe.name:
            self._recipe = RecipeInForce(recipe, at_utc)

    def snapshot(self, now_s: float, not_inspected: str | None = None) -> CameraSnapshot:
        """Return this camera now; `not_inspected` is the cause of an interval that is open now."""
        counts, inspected, newest, change = self._counts(), self._inspected, self._newest, self._change
        causes = {cause.value: n for cause, n in counts.dropped.items()}
        rates = self._rates.sample(now_s, {"arrived": counts.arrived, "inspected": inspected} | causes)
        return CameraSnapshot(
            name=self.name,
            state=change.state,
            code=change.code,
            detail=change.detail,
            fps_in=rates["arrived"],
            fps_inspected=rates["inspected"],
            dropped_fps={cause: rates[cause.value] for cause in counts.dropped},
            dropped=counts.dropped,
            latency_ms=quantiles_of(self.latency.window(now_s)),
            behind_s=self._counters.load.behind_s,
            last_frame_age_s=None if newest is None else max(0.0, now_s - newest[1]),
            detections=self._detections,
            events=self._events,
            reconnects=self._reconnects.n,
            sequence=None if newest is None else newest[0],
            not_inspected=not_inspected,
            is_unverified=self._counters.is_unverified,
            hanging=self._counters.abandoned()[1],
            recipe=self._recipe,
            model=self._model,
            needed_fps=self._pace.needed_fps,
            spare_fps=self._pace.spare_fps,
            is_settled=self._first_result_s is not None and now_s - self._first_result_s > RATES_OVER_S,
        )

    def totals(self, now_s: float, not_inspected_s: Mapping[str, float]) -> CameraTotals:
        """Return this camera over the whole run up to `now_s`; `not_inspected_s` by cause."""
        due_s = self._due_s + (0.0 if self._due_since_s is None else now_s - self._due_since_s)
        counts = self._counts()
        return CameraTotals(
            name=self.name,
            state=self._change.state,
            arrived=counts.arrived,
            decoded=counts.decoded,
            inspected=self._inspected,
            detections=self._detections,
            events=self._events,
            reconnects=self._reconnects.n,
            dropped=counts.dropped,
            latency=self.latency.whole(),
            behind=self.behind.whole(),
            ended_events=self._ended_events,
            inspected_utc=None if self._newest is None else self._newest[2],
            most_behind_ms=max(self._most_behind_s, self._counters.load.most_behind_s) * 1000.0,
            abandoned=self._abandoned_before + self._counters.abandoned()[0],
            code=self._change.code,
            needed_fps=self._pace.needed_fps,
            recipe=self._recipe.name,
            model=self._model,
            covered=Covered(due_s, not_inspected_s),
        )

    def _counts(self) -> MailboxCounts:
        now, before = self._counters.counts(), self._before
        dropped = Counter(before.dropped) + Counter(now.dropped)
        return MailboxCounts(before.arrived + now.arrived, before.decoded + now.decoded, dropped=dropped)
