# SPDX-License-Identifier: AGPL-3.0-or-later
"""The immutable state of the whole run at one moment, for screens and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vision_line.frames import INSPECTING_STATES, CameraState, DefectEvent, DropCause, NotInspected
from vision_line.inspection.coverage.causes import CAPACITY, DECODING, NOT_READY
from vision_line.ports import DeviceLoad, LogStatus
from vision_line.telemetry.latency_histogram import Quantiles

#: Length of the window for a camera's rates, in seconds.
RATES_OVER_S = 5.0
#: Normal states without inspection; all others outside INSPECTING_STATES are troubles.
PASSING_STATES = frozenset({CameraState.CONNECTING, CameraState.ENDED, CameraState.REMOVED})


@dataclass(frozen=True, slots=True)
class RecipeInForce:
    """By which recipe a camera is inspected, "" for none; `since_utc` is None where that never changed."""

    name: str = ""
    since_utc: float | None = None


@dataclass(frozen=True, slots=True)
class ModelInUse:
    """Which model inspects a camera now; empty before that is known."""

    name: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class RecipeWish:
    """A recipe that was asked for, "" for none, and what became of it."""

    number: int  # of the wish, in its file
    lane: str  # `*`: everywhere
    recipe: str
    by: str
    door: str
    asked_utc: float
    cameras: tuple[str, ...] = ()  # where it is in force
    refused: str = ""  # why it is not


@dataclass(frozen=True, slots=True)
class RecipeStatus:
    """The wishes that count now, and in sentences what is wrong with them."""

    wishes: tuple[RecipeWish, ...] = ()
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """What of the configuration, as it is now, is not in force; each a sentence, "" for nothing."""

    refusal: str = ""  # all of it: why it is not used
    restart: str = ""  # which changes wait for the next start


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """The fleet of a node as it sees it; nothing of all that in a run that is no node."""

    words: str = ""  # which node this is, of how many
    alarms: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CameraSnapshot:
    """One camera now. Rates are frames per second over the last seconds, counts are since the program started."""

    name: str
    state: CameraState = CameraState.CONNECTING
    code: str | None = None  # a SourceErrorCode value, if an error caused the state
    detail: str = ""
    fps_in: float = 0.0
    fps_inspected: float = 0.0
    dropped_fps: Mapping[DropCause, float] = field(default_factory=dict)
    dropped: Mapping[DropCause, int] = field(default_factory=dict)
    latency_ms: Quantiles | None = None  # of the last seconds; None when nothing was inspected in them
    behind_s: float = 0.0  # how late the newest frame came
    last_frame_age_s: float | None = None  # since the newest inspected frame was captured; None before the first
    detections: int = 0
    events: int = 0
    reconnects: int = 0
    sequence: int | None = None  # of the newest inspected frame
    not_inspected: str | None = None  # cause of the open interval; None while it is inspected
    is_unverified: bool = False  # its encrypted connection does not verify its identity
    hanging: int = 0  # abandoned connections that still hang and cannot be interrupted
    needed_fps: float = 0.0  # inspections per second that every part needs; 0: no required rate
    spare_fps: float = 0.0  # from this rate on an event is made despite a missed detection
    recipe: RecipeInForce = RecipeInForce()
    model: ModelInUse = ModelInUse()
    is_settled: bool = False  # it has been inspected long enough for its rates to be valid

    @property
    def is_running(self) -> bool:
        """Whether frames are usable and some were inspected."""
        return self.state in INSPECTING_STATES and self.sequence is not None

    @property
    def is_too_slow(self) -> bool:
        """Whether it is inspected less often than its parts need."""
        return self.is_running and self._is_below(self.needed_fps)

    @property
    def is_scarce(self) -> bool:
        """Whether it is inspected just often enough: one missed detection may cost an event."""
        return self.is_inspecting and self._is_below(self.spare_fps)

    def _is_below(self, fps: float) -> bool:
        """Whether its rate is below `fps` for sure: the count behind a rate may be one too low."""
        return self.is_settled and self.fps_inspected < fps - 1 / RATES_OVER_S

    @property
    def lacks_capacity(self) -> bool:
        """Whether this machine lacks the capacity for its frames."""
        if self.not_inspected is not None:
            return self.not_inspected in {CAPACITY, DECODING}
        return self.is_too_slow and self.fps_in >= self.needed_fps and not self.dropped_fps.get(DropCause.RATE_CAP)

    @property
    def comes_late(self) -> bool:
        """Whether recent frames came too late to be inspected, with no other cause."""
        return self.dropped_fps.get(DropCause.BEHIND, 0.0) > 0.0 and self.not_inspected not in NOT_READY

    @property
    def is_missed(self) -> bool:
        """Whether its parts are not inspected now, though the device is ready."""
        return self.is_too_slow or self.not_inspected not in (None, *NOT_READY)

    @property
    def is_inspecting(self) -> bool:
        """Whether this camera is inspected often enough: no open interval, and a sufficient rate."""
        return self.is_running and self.not_inspected is None and not self.is_too_slow

    @property
    def is_unfinished(self) -> bool:
        """Whether this is a file that could not be read to its end."""
        return self.state is CameraState.ENDED and self.code is not None

    @property
    def is_expected(self) -> bool:
        """Whether this camera should be inspected: it did not end rightly, and was not removed."""
        return self.is_unfinished or self.state not in (CameraState.ENDED, CameraState.REMOVED)

    @property
    def is_troubled(self) -> bool:
        """Whether an operator should check this camera: it is neither well nor starting nor properly ended."""
        if self.state is CameraState.CONNECTING:
            return self.code is not None
        if self.state is CameraState.RUNNING:
            return self.is_missed
        return self.is_unfinished or self.state not in PASSING_STATES


@dataclass(frozen=True, slots=True)
class Totals:
    """All cameras together, and the process. Rates and quantiles are those of the last seconds."""

    fps_in: float = 0.0
    fps_inspected: float = 0.0
    fps_dropped: float = 0.0
    latency_ms: Quantiles | None = None
    batch_occupancy: float | None = None  # 0..1, filled share of the submitted batches; None before the first
    cpu_percent: float = 0.0  # of all `cores` together: 100 means that every core is busy with this process
    cores: int = 1
    rss_mb: float = 0.0
    events: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a screen shows."""

    version: str
    device: str  # in words, e.g. "cpu int8"
    model: str
    started_utc: float
    now_utc: float
    uptime_s: float
    totals: Totals = Totals()
    log: LogStatus = field(default_factory=LogStatus)
    devices: tuple[DeviceLoad, ...] = ()  # load of each GPU; empty without one, or where it reports none
    cameras: tuple[CameraSnapshot, ...] = ()
    latest_events: tuple[DefectEvent, ...] = ()  # newest first
    alarms: tuple[str, ...] = ()  # worst first
    notices: tuple[str, ...] = ()  # further information
    not_inspected: tuple[NotInspected, ...] = ()  # the intervals that are open now
    recipes: tuple[RecipeWish, ...] = ()
    fleet: str = ""  # which node of its fleet this is; "": of none

    @property
    def inspecting(self) -> int:
        """How many cameras are being inspected; none while the log cannot be written."""
        return sum(camera.is_inspecting for camera in self.cameras) if self.log.writable else 0

    @property
    def nothing_inspected(self) -> list[str]:
        """One sentence that names every camera with its cause, where none was ever inspected; else nothing."""
        if not self.cameras or any(camera.sequence is not None for camera in self.cameras):
            return []
        causes = (f"{camera.name} ({camera.not_inspected or camera.code or camera.state})" for camera in self.cameras)
        return [f"nothing was inspected: {', '.join(causes)}"]

    @property
    def expected(self) -> int:
        """How many cameras should be inspected: all but those that ended or were removed rightly."""
        return sum(camera.is_expected for camera in self.cameras)
