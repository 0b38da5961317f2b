# SPDX-License-Identifier: AGPL-3.0-or-later
"""Counters and measurements of the whole run, and its snapshots."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vision_line.challenges.due import TargetState
from vision_line.cores import usable_cores
from vision_line.frames import CameraState, ClockStep, DefectEvent, Inspection, NotInspected, StateChange
from vision_line.ports import DeviceDescription, DeviceLoad, FeedStatus, LogStatus, OverlayStatus, ShapeHW
from vision_line.telemetry.alarms import challenge_alarms, plan_alarms, plan_notices
from vision_line.telemetry.baseline_watch import SilenceStatus
from vision_line.telemetry.camera_metrics import CameraCounters, CameraMetrics, CameraTotals, RequiredRate, SlidingRates
from vision_line.telemetry.covered import CoverageTally
from vision_line.telemetry.latency_histogram import Counts, LatencyHistogram, Quantiles, merged, quantiles_of
from vision_line.telemetry.load_history import LoadHistory, LoadTotals
from vision_line.telemetry.output_metrics import output_notices
from vision_line.telemetry.outputs_watch import WatchedOutput
from vision_line.telemetry.process import ProcessUsage, read_usage
from vision_line.telemetry.shortfall import SteadyNumber
from vision_line.telemetry.snapshot import (
    CameraSnapshot,
    ConfigStatus,
    FleetStatus,
    ModelInUse,
    RecipeStatus,
    Snapshot,
    Totals,
)

LATEST_EVENTS = 32
#: How long a step of the wall clock is shown as a notice.
SHOW_CLOCK_STEP_S = 600.0


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model of a run; `form` and its reason are said here of recipes' models, of the run's own by its device."""

    name: str
    sha256: str
    precision: str
    input_shapes_hw: tuple[ShapeHW, ...]
    form: str = ""
    form_reason: str = ""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """Constants of a run."""

    version: str
    device: DeviceDescription
    model: ModelFacts
    started_s: float
    started_utc: float
    recipe_models: tuple[ModelFacts, ...] = ()  # that recipes name, open beside it


@dataclass(frozen=True, slots=True)
class RunTotals:
    """Totals of the whole run, for the summary."""

    facts: RunFacts
    duration_s: float
    cameras: tuple[CameraTotals, ...]
    inspected_fps: float
    batches: int
    batched: int  # frames in them
    batch_places: int  # frames that they had room for
    commit_latency: Counts = field(compare=False)
    usage: ProcessUsage
    overlay: OverlayStatus | None = None  # None where no videos are written
    loads: tuple[LoadTotals, ...] = ()  # of each GPU
    feed: FeedStatus = field(default_factory=FeedStatus)
    recipe_troubles: tuple[str, ...] = ()  # recipes that were asked for and are not in force
    config: ConfigStatus = field(default_factory=ConfigStatus)

    @property
    def latency_ms(self) -> Quantiles | None:
        """Quantiles of all cameras' latencies; None when nothing was inspected."""
        return quantiles_of(merged(camera.latency for camera in self.cameras))

    @property
    def behind(self) -> Counts:
        """What all cameras' inspected frames waited in queues on the way."""
        return merged(camera.behind for camera in self.cameras)

    @property
    def batch_occupancy(self) -> float | None:
        """The filled share of the batches, 0..1; None before the first."""
        return self.batched / self.batch_places if self.batch_places else None


class RunMetrics:
    """All cameras and the process.

    `inspected`, `event` and `batch` belong to the scheduler's thread; `add_camera`, `state`, `snapshot` and `totals` to
    the event loop's thread. `facts` may be replaced, whole, once the device is open and its input shapes are known.
    """

    def __init__(self, facts: RunFacts, read_usage: Callable[[], ProcessUsage] = read_usage) -> None:
        self.facts = facts
        self._read_usage = read_usage
        self._cores = usable_cores()
        self._cameras: dict[str, CameraMetrics] = {}
        self._latest: OrderedDict[str, DefectEvent] = OrderedDict()
        self._latest_lock = threading.Lock()
        self._rates = SlidingRates()
        self._commit_latencies = LatencyHistogram()
        self._read_overlay: Callable[[], OverlayStatus] | None = None
        self._read_feed: Callable[[], FeedStatus] = FeedStatus
        self._read_challenges: Callable[[], Sequence[TargetState]] = tuple
        self._read_silence: Callable[[], SilenceStatus] = SilenceStatus
        self._read_outputs: Callable[[], Sequence[WatchedOutput]] = tuple
        self._read_recipes: Callable[[], RecipeStatus] = RecipeStatus
        self._read_fleet: Callable[[], FleetStatus] = FleetStatus
        self._read_companions: Callable[[], Sequence[str]] = tuple
        self._read_config: Callable[[], ConfigStatus] = ConfigStatus
        self._preparation = ""
        self._decoding = ""
        self._unproven = ""
        self._clock_step: ClockStep | None = None
        self._left_out: tuple[str, ...] = ()
        self._reminders: tuple[str, ...] = ()
        self._fits = SteadyNumber()
        self._loads = LoadHistory()
        self._tally = CoverageTally(facts.started_s)
        self._first_result_s: float | None = None
        self._batches = 0
        self._batched = 0
        self._batch_places = 0

    def watch_overlay(self, read_overlay: Callable[[], OverlayStatus]) -> None:
        """Show the state of the annotated videos from now on."""
        self._read_overlay = read_overlay

    def watch_feed(self, read_feed: Callable[[], FeedStatus]) -> None:
        """Show the state of the live feed from now on."""
        self._read_feed = read_feed

    def watch_challenges(self, read_challenges: Callable[[], Sequence[TargetState]]) -> None:
        """Raise the alarm about challenges that failed or are overdue from now on."""
        self._read_challenges = read_challenges

    def watch_silence(self, read_silence: Callable[[], SilenceStatus]) -> None:
        """Raise the alarm about what finds suspiciously little from now on."""
        self._read_silence = read_silence

    def watch_outputs(self, read_outputs: Callable[[], Sequence[WatchedOutput]]) -> None:
        """Say from now on which outputs get nothing."""
        self._read_outputs = read_outputs

    def watch_recipes(self, read_recipes: Callable[[], RecipeStatus]) -> None:
        """Show from now on which recipes were asked for, with an alarm for each that is not in force."""
        self._read_recipes = read_recipes

    def watch_fleet(self, read_fleet: Callable[[], FleetStatus]) -> None:
        """Show from now on of which fleet this is a node, and raise its alarms."""
        self._read_fleet = read_fleet

    def watch_companions(self, read_alarms: Callable[[], Sequence[str]]) -> None:
        """Raise from now on an alarm for each process beside the run that does not run."""
        self._read_companions = read_alarms

    def watch_config(self, read_config: Callable[[], ConfigStatus]) -> None:
        """Raise the alarm about a configuration that is not used from now on, and say what needs a restart."""
        self._read_config = read_config

    def device_prepares(self, sentence: str) -> None:
        """Set the notice about what the device prepares, "" when it is done; any thread."""
        self._preparation = sentence

    def decoding_is_short(self, sentence: str) -> None:
        """Set the alarm about frames that are not decoded, "" when there are none."""
        self._decoding = sentence

    def engines_are_unproven(self, sentence: str) -> None:
        """Set the alarm about engines that cannot be proven now, "" when their last proof held."""
        self._unproven = sentence

    def leave_out(self, cameras: tuple[str, ...]) -> None:
        """Set the notice about cameras that the command line leaves out."""
        self._left_out = cameras

    def remind(self, sentences: Sequence[str]) -> None:
        """Set permanent notices."""
        self._reminders = tuple(sentences)

    def clock_stepped(self, step: ClockStep) -> None:
        """Show for a while that the wall clock was set."""
        self._clock_step = step

    def device_loads(self, loads: Sequence[DeviceLoad]) -> None:
        """Count a sample of the GPUs' load; any one thread."""
        self._loads.note(loads)

    def add_camera(self, name: str, counters: CameraCounters) -> CameraMetrics:
        """Return the metrics of a camera; a known one continues with the new mailbox."""
        camera = self._cameras.get(name)
        if camera is None:
            # A new dictionary instead of a changed one: the scheduler's thread may be reading the old one.
            camera = CameraMetrics(name, counters)
            self._cameras = self._cameras | {name: camera}
        else:
            camera.attach(counters)
        return camera

    def evaluate_by(self, name: str, rate: RequiredRate, recipe: str, model: ModelInUse, at_utc: float) -> None:
        """Note by which recipe, "" for none, by which model and at which rate a camera is inspected from now on."""
        self._cameras[name].evaluate_by(rate, recipe, model, at_utc)

    def batch(self, frames: int) -> None:
        """Count a batch of `frames` that was submitted to the device."""
        self._batches += 1
        self._batched += frames
        self._batch_places += self.facts.device.max_batch

    def inspected(self, inspection: Inspection, now_s: float) -> None:
        """Count a result that was handed to the outputs and the records at `now_s`."""
        if self._first_result_s is None:
            self._first_result_s = now_s
        camera = self._cameras[inspection.frame.camera]
        camera.inspected(inspection, now_s)
        camera.detections(len(inspection.detections))

    def event(self, event: DefectEvent) -> None:
        """Count a defect and keep it among the latest; a later phase replaces the earlier one of the same defect."""
        self._cameras[event.camera].event(event)
        with self._latest_lock:
            self._latest[event.event_id] = event
            if len(self._latest) > LATEST_EVENTS:
                self._latest.popitem(last=False)

    def state(self, change: StateChange) -> None:
        """Note a camera's new state."""
        self._cameras[change.camera].state(change)

    def not_inspected(self, intervals: Sequence[NotInspected], now_s: float) -> None:
        """Count intervals of the ledger as they are written."""
        self._tally.note(intervals, now_s)

    def committed(self, latencies_ms: Sequence[float], now_s: float) -> None:
        """Count commits of the log by result -> committed of the oldest result in each."""
        for latency_ms in latencies_ms:
            self._commit_latencies.record(latency_ms, now_s)

    def snapshot(
        self, now_s: float, now_utc: float, log: LogStatus, not_inspected: Sequence[NotInspected] = ()
    ) -> Snapshot:
        """Return the present state; `not_inspected` are the open intervals.

        Removed cameras are left out. About 20 microseconds a camera.
        """
        causes = {interval.camera: interval.cause for interval in not_inspected}
        every = [camera.snapshot(now_s, causes.get(name)) for name, camera in self._cameras.items()]
        cameras = tuple(camera for camera in every if camera.state is not CameraState.REMOVED)
        names = (camera.model.name for camera in cameras)
        loads = self._loads.latest
        recipes, config, fleet = self._read_recipes(), self._read_config(), self._read_fleet()
        with self._latest_lock:
            latest = tuple(reversed(self._latest.values()))
        return Snapshot(
            version=self.facts.version,
            device=f"{self.facts.device.name} {self.facts.device.variant or self.facts.device.precision}",
            model=", ".join(dict.fromkeys(filter(None, names))) or self.facts.model.name,
            started_utc=self.facts.started_utc,
            now_utc=now_utc,
            uptime_s=now_s - self.facts.started_s,
            totals=self._totals_now(every, now_s),
            log=log,
            devices=loads,
            cameras=cameras,
            latest_events=latest,
            alarms=(
                *plan_alarms(
                    cameras,
                    log,
                    not_inspected,
                    now_s,
                    self._decoding,
                    lambda fits: self._fits.show(fits, now_s),
                ),
                *filter(None, [self._unproven, config.refusal]),
                *fleet.alarms,
                *self._read_companions(),
                *recipes.troubles,
                *challenge_alarms(self._read_challenges()),
                *self._read_silence().alarms,
            ),
            notices=(
                *self._reminders,
                *plan_notices(
                    cameras, self._overlay(), self._preparation, loads, self._recent_clock_step(now_s), self._left_out
                ),
                *fleet.notices,
                *filter(None, [config.restart, self._read_feed().problem]),
                *output_notices(self._read_outputs()),
            ),
            not_inspected=tuple(not_inspected),
            recipes=recipes.wishes,
            fleet=fleet.words,
        )

    def totals(self, now_s: float) -> RunTotals:
        """Return the whole run up to `now_s`."""
        missing_s = self._tally.seconds(now_s)
        cameras = tuple(camera.totals(now_s, missing_s.get(name, {})) for name, camera in self._cameras.items())
        return RunTotals(
            facts=self.facts,
            duration_s=now_s - self.facts.started_s,
            cameras=cameras,
            inspected_fps=self._inspected_fps(sum(camera.inspected for camera in cameras), now_s),
            batches=self._batches,
            batched=self._batched,
            batch_places=self._batch_places,
            commit_latency=self._commit_latencies.whole(),
            usage=self._read_usage(),
            overlay=self._overlay(),
            loads=self._loads.totals(),
            feed=self._read_feed(),
            recipe_troubles=self._read_recipes().troubles,
            config=self._read_config(),
        )

    def _recent_clock_step(self, now_s: float) -> str:
        step = self._clock_step
        return "" if step is None or now_s - step.at_s > SHOW_CLOCK_STEP_S else str(step)

    def _overlay(self) -> OverlayStatus | None:
        return None if self._read_overlay is None else self._read_overlay()

    def _totals_now(self, cameras: Sequence[CameraSnapshot], now_s: float) -> Totals:
        usage = self._read_usage()
        rates = self._rates.sample(now_s, {"cpu": usage.cpu_seconds})
        return Totals(
            fps_in=sum(camera.fps_in for camera in cameras),
            fps_inspected=sum(camera.fps_inspected for camera in cameras),
            fps_dropped=sum(sum(camera.dropped_fps.values()) for camera in cameras),
            latency_ms=quantiles_of(merged(camera.latency.window(now_s) for camera in self._cameras.values())),
            batch_occupancy=self._occupancy(),
            cpu_percent=100.0 * rates["cpu"] / self._cores,
            cores=self._cores,
            rss_mb=usage.rss_mb,
            events=sum(camera.events for camera in cameras),
        )

    def _occupancy(self) -> float | None:
        return self._batched / self._batch_places if self._batch_places else None

    def _inspected_fps(self, inspected: int, now_s: float) -> float:
        """Return results after the first one, divided by the time since it."""
        first_s = self._first_result_s
        return 0.0 if first_s is None or now_s <= first_s else (inspected - 1) / (now_s - first_s)
