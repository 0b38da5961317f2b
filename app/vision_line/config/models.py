# SPDX-License-Identifier: AGPL-3.0-or-later
"""The schema of `streams.toml` as frozen models: every key with its default, unit and bounds."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator

from vision_line.config.central_settings import CentralSettings
from vision_line.config.lane_settings import LaneSettings
from vision_line.config.listen import ListenAddress, parse_listen
from vision_line.config.modbus_settings import CoilSettings, ModbusSettings
from vision_line.config.output_settings import Output
from vision_line.config.recipe_settings import RecipeSettings
from vision_line.config.table_values import HOW_TO_ESCAPE, NAME, Polygon, Score, Share
from vision_line.documented import Documented
from vision_line.errors import mask_credentials
from vision_line.quality.shifts import ShiftPlan, shift_plan

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?=://)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: Inspections per part are not scarce from this multiple of `min_hits` on.
SPARE_FACTOR = 1.5
URL_SCHEMES = ("rtsp", "rtsps", "file")

ShiftName = Annotated[str, Field(pattern=r"^[^\W_][\w .-]{0,39}$")]


class Frozen(Documented, BaseModel):
    """A model that rejects unknown keys, is immutable and coerces nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class StreamSettings(Frozen):
    """Settings for all cameras in `[defaults]`, or for one camera in its `[[stream]]`."""

    enabled: bool = True
    """false: the camera is kept in the file but not opened."""
    transport: Literal["tcp", "udp"] = "tcp"
    """RTSP transport."""
    tls_ca_file: str | None = None
    """`rtsps://` only: PEM file of the trusted CAs, relative to this file; default: the system's."""
    tls_fingerprint: str | None = None
    """`rtsps://` only: SHA-256 of the only certificate that is accepted, whatever its issuer and name."""
    tls_verify: bool = True
    """`rtsps://` only; false: the camera's identity is not verified. A warning is given at every start."""
    connect_timeout_s: float = Field(5.0, gt=0, le=120)
    """Time limit for opening a camera."""
    read_timeout_s: float = Field(5.0, gt=0, le=120)
    """A connection without data for this time counts as lost."""
    max_frame_pixels: int = Field(33_554_432, ge=4096, le=1 << 29)
    """A camera or file with larger frames is rejected (FRAME_TOO_LARGE), to protect memory and time of the others."""
    stale_after_s: float | None = Field(None, gt=0, le=600)
    """A camera without a frame for this time is STALE; default: the larger of 2 s and 5 frame periods."""
    frozen_after_s: float = Field(10.0, gt=0, le=3600)
    """A camera that repeats the same frame for this time is FROZEN."""
    may_stand_still: bool = False
    """true: the belt may stop, so a repeated frame is normal and FROZEN is not used."""
    inspect_fps: float | None = Field(None, gt=0, le=1000)
    """Largest number of inspected frames per second; default: no limit."""
    max_staleness_ms: float = Field(500.0, ge=10, le=60_000)
    """A frame that is older than this when a slot is free is dropped."""
    dwell_s: float = Field(2.0, gt=0, le=3600)
    """How long a part stays in view."""
    max_inspection_gap_ms: float | None = Field(None, ge=10, le=3_600_000)
    """A longer interval between two inspections is logged as not inspected; at most `dwell_s`, default: half of it."""
    colour_matrix: Literal["auto", "bt601", "bt709", "bt2020"] = "auto"
    """Overrides the stream's YCbCr matrix."""
    colour_range: Literal["auto", "limited", "full"] = "auto"
    """Overrides the stream's range."""
    roi: list[Polygon] = []
    """Polygons of [x, y] in 0..1; a detection counts when its centre lies in one. Empty: the whole frame."""
    classes: list[str] = []
    """Classes that count, by name; empty: all of the model."""
    score_threshold: Score | None = None
    """Lowest score of a detection that counts, for classes without their own; default: the bundle's."""
    thresholds: dict[str, Score] = {}
    """Lowest score that counts, by class name."""
    reject_threshold: Score = 0.5
    """An event is a reject once two observations reach this (one, with `min_hits` 1); for classes without their own."""
    reject_thresholds: dict[str, Score] = {}
    """The same by class name."""
    warn_threshold: Score | None = None
    """An event whose best score stays below this is accepted: recorded, but harmless; default: every event warns."""
    warn_thresholds: dict[str, Score] = {}
    """The same by class name."""
    accept_classes: list[str] = []
    """Classes that are no defects, such as a part itself: their events are accepted, whatever their score."""
    min_hits: int = Field(3, ge=1, le=100)
    """Number of inspections that must detect a defect before it is an event."""
    min_looks: int | None = Field(None, ge=1, le=10_000)
    """A part that gets fewer inspections within `dwell_s` is logged as not inspected; default: `min_hits`."""
    station: str = Field("", max_length=200)
    """Written with every record."""
    recipe: str = Field("", max_length=200)
    """Written with every record."""
    paced: bool = True
    """Files only: play in real time; false: every frame, as fast as it can be inspected."""
    loop: bool = False
    """Files only: start again at the end."""
    picture_fps: float = Field(10.0, gt=0, le=1000)
    """Folders and globs of images only: frames per second."""

    @field_validator("tls_fingerprint")
    @classmethod
    def _fingerprint(cls, value: str | None) -> str | None:
        plain = (value or "").replace(":", "").lower()
        if value is not None and not _SHA256.fullmatch(plain):
            raise ValueError(f"expected the 64 hex digits of a SHA-256, found {value!r}")
        return None if value is None else plain

    @field_validator("warn_threshold")
    @classmethod
    def _warn(cls, value: float | None, info: ValidationInfo) -> float | None:
        reject = info.data.get("reject_threshold")
        if value is not None and reject is not None and value > reject:
            raise ValueError(f"expected at most reject_threshold ({reject:g}), found {value:g}")
        return value

    @field_validator("min_looks")
    @classmethod
    def _enough_inspections(cls, value: int | None, info: ValidationInfo) -> int | None:
        hits = info.data.get("min_hits", 1)
        if value is not None and value < hits:
            raise ValueError(f"expected at least min_hits ({hits}), found {value}")
        return value

    @field_validator("warn_thresholds")
    @classmethod
    def _warn_by_class(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        own, reject = info.data.get("reject_thresholds", {}), info.data.get("reject_threshold", 1.0)
        if wrong := [name for name, score in value.items() if score > own.get(name, reject)]:
            raise ValueError(f"expected at most the reject threshold of the class, found more for {', '.join(wrong)}")
        return value


class Stream(StreamSettings):
    """One camera. `name` and `url` are required; the rest defaults to `[defaults]`."""

    name: str
    """Unique; letters, digits, `_`, `.`, `-`."""
    url: SecretStr
    """`rtsp://`, `rtsps://`, or `file:` with a video, a folder or a glob of images (relative to this file)."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError(f"expected 1 to 64 letters, digits, '_', '.', '-', found {value!r}")
        return value

    @field_validator("url", mode="before")
    @classmethod
    def _url(cls, value: object) -> SecretStr:
        if isinstance(value, SecretStr):
            return value
        if not isinstance(value, str):
            raise ValueError(f"expected a string, found {type(value).__name__}")  # noqa: TRY004  pydantic wants ValueError
        scheme = value.split(":", 1)[0].lower() if ":" in value else ""
        if scheme not in URL_SCHEMES:
            # Text that is no URL is not shown: it may contain the password anywhere.
            found = _SCHEME.match(value)
            raise ValueError(f"expected rtsp://, rtsps:// or file:, found {f'{found[0]}://' if found else 'neither'}")
        if scheme != "file":
            _check_network_url(value)
        return SecretStr(value)

    @property
    def display_url(self) -> str:
        """The URL with user and password masked: the only form that may be shown or logged."""
        return mask_credentials(self.url.get_secret_value().replace(" ", "%20"))

    @property
    def settings_json(self) -> str:
        """This camera's inspection settings as JSON: every key but name, URL, station and recipe."""
        return self.model_dump_json(exclude={"name", "url", "station", "recipe"})

    @property
    def is_live(self) -> bool:
        """Whether newer frames replace older ones (a camera) or every frame is kept (a file)."""
        return not self.url.get_secret_value().lower().startswith("file:")

    @property
    def needed_inspections(self) -> int:
        """Number of inspections that a part must get within `dwell_s`."""
        return self.min_hits if self.min_looks is None else self.min_looks

    @property
    def needed_fps(self) -> float:
        """Inspections per second that give every part its `needed_inspections`, and no interval that is too long."""
        return max(self.needed_inspections / self.dwell_s, 1.0 / self.inspection_gap_s)

    @property
    def spare_fps(self) -> float:
        """From this rate on an event is made although one inspection in three misses the defect."""
        return max(self.needed_fps, SPARE_FACTOR * self.min_hits / self.dwell_s)

    @property
    def safe_fps(self) -> float:
        """The least `inspect_fps` that suffices although each inspection waits for the camera's next frame."""
        return max((self.needed_inspections + 1) / self.dwell_s, 2.0 / self.inspection_gap_s)

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.url.get_secret_value().lower().startswith("rtsps:")

    @property
    def is_unverified(self) -> bool:
        """Whether an encrypted connection does not verify the camera's identity."""
        return self.is_encrypted and not self.tls_verify and self.tls_fingerprint is None

    @property
    def inspection_gap_s(self) -> float:
        """The longest interval between two inspections that still counts as inspected, in seconds."""
        gap_ms = self.max_inspection_gap_ms
        return self.dwell_s / 2 if gap_ms is None else gap_ms / 1000


def _check_network_url(value: str) -> None:
    """Reject a URL without a host, without showing it."""
    if _CONTROL.search(value):
        raise ValueError("expected no control characters in a URL")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        # Not chained: it quotes what it took for the port, which may be a piece of the password.
        raise ValueError(f"expected rtsp://host[:port]/path, found no such host or port; {HOW_TO_ESCAPE}") from None
    if not host:
        raise ValueError("expected a host name behind rtsp:// or rtsps://, found none")
    is_name_of_a_user = ":" in parts.netloc and "@" not in parts.netloc and "." not in parts.netloc
    if is_name_of_a_user and "@" in value:  # as in rtsp://admin:12/34@camera, which would go to a host "admin"
        raise ValueError(f"expected no @ behind the host: {HOW_TO_ESCAPE}")


class ModelSettings(Frozen):
    """`[model]`: the model and the device; all optional."""

    path: str | None = None
    """A bundle folder or an ONNX file, relative to this file; default: the shipped bundle."""
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:(all|\d+(,\d+)*))?)$")
    """Where it runs: `auto` (all usable GPUs, else the CPU), `cpu`, `cuda`, `cuda:1`, `cuda:0,2`, `cuda:all`."""
    max_input_shapes: int = Field(3, ge=1, le=8)
    """Cameras are grouped by aspect ratio; this is the largest number of input shapes."""


class RecordSettings(Frozen):
    """`[record]`: the detection log and its evidence."""

    directory: str = "records"
    """Directory of the records, relative to the working directory."""
    evidence: bool = True
    """Store an annotated image of every defect event."""
    evidence_max_mb: int = Field(2000, ge=1)
    """Disk space for evidence; the oldest images are removed first, and counted."""
    evidence_quality: int = Field(90, ge=30, le=100)
    """JPEG quality."""
    keep_days: int = Field(0, ge=0, le=36_500)
    """Records older than this are removed: detections, images, events, coverage, parts; 0: never."""
    max_mb: int = Field(0, ge=0)
    """Size limit of the record file: above it the oldest detections go, then events, then coverage; 0: none."""
    min_free_mb: int = Field(200, ge=0)
    """With less free disk space inspection stops, since results could not be recorded."""
    signing_key: str | None = None
    """Ed25519 private key (PEM), relative to the working directory, that signs the journal's seals."""


class ReviewSettings(Frozen):
    """`[review]`: if present, frames are kept for estimating what is missed."""

    audit_per_hour: float = Field(4.0, ge=0, le=3600)
    """Inspected frames that are drawn at random and kept with all their detections, on average an hour and camera."""
    near_misses: bool | Share = True
    """Record tracks that never became an event; a number in 0..1: keep the image of this share of them, at random."""
    max_mb: int = Field(1000, ge=1)
    """Disk space for these images: one half for audits, the other for near misses; the oldest are removed first."""
    quality: int = Field(90, ge=30, le=100)
    """JPEG quality."""

    @property
    def near_miss_share(self) -> float:
        """With which probability a near miss keeps its image."""
        return float(self.near_misses)


class ClipSettings(Frozen):
    """`[clips]`: footage of every defect event, as the camera sent it. Without this section there are no clips."""

    pre_s: float = Field(5.0, ge=0, le=60)
    """How long before an event's first sight its clip begins, at the latest; it begins with a keyframe."""
    post_s: float = Field(5.0, ge=0, le=60)
    """How long after its last sight it ends."""
    max_s: float = Field(60.0, ge=1, le=600)
    """The longest clip. Events that overlap share one."""
    memory_mb: int = Field(128, ge=1)
    """Memory for the newest encoded frames of all cameras together."""
    max_mb: int = Field(2000, ge=1)
    """Disk space for clips; the oldest are removed first."""
    verdict: Literal["accept", "warn", "reject"] = "warn"
    """The mildest verdict of which events have clips."""

    @model_validator(mode="after")
    def _fits(self) -> ClipSettings:
        if self.pre_s + self.post_s > self.max_s:
            raise ValueError(f"max_s: expected at least pre_s + post_s, found {self.max_s:g}")
        return self


class ShiftSettings(Frozen):
    """`[shifts]`: when shifts begin on the plant's clock, for desk and reports. It changes no inspection."""

    timezone: str
    """Time zone of the plant's clock by its name in the tz database: `Europe/Berlin`. Required."""
    start: list[str]
    """When each shift begins, in the order of the day: `["06:00", "14:00", "22:00"]`. Required."""
    names: list[ShiftName] = []
    """What each is called; default: `early`, `late`, `night` where the first begins in the morning, else its start."""

    @model_validator(mode="after")
    def _fits(self) -> ShiftSettings:
        shift_plan(self.timezone, self.start, self.names)
        return self

    @property
    def plan(self) -> ShiftPlan:
        """When shifts begin."""
        return shift_plan(self.timezone, self.start, self.names)


class ChallengeFileSettings(Frozen):
    """`[challenge]`: where the plan of challenge parts is."""

    file: str
    """The plan, relative to this file; without this section `challenge.toml` beside this file, if it is there."""


class DashboardSettings(Frozen):
    """`[dashboard]`: the terminal screen."""

    refresh_per_s: float = Field(4.0, gt=0, le=30)
    """Redraws a second."""
    svg: str | None = None
    """Write the last screen as an SVG image to this path when the program ends."""


class MetricsSettings(Frozen):
    """`[metrics]`: figures and health over HTTP."""

    allow_remote: bool = False
    """true: `listen` may be an address that other machines reach; there is no password and no encryption."""
    listen: str | None = None
    """IP address and port of `/metrics`, `/healthz`, `/readyz`: `127.0.0.1:9108`, `[::1]:9108`; default: off."""

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not parse_listen(value).is_loopback and not info.data.get("allow_remote"):
            raise ValueError(f"found {value!r}, which other machines reach: expected 127.0.0.1, or allow_remote = true")
        return value

    @property
    def address(self) -> ListenAddress | None:
        """Where to listen; None: nowhere."""
        return None if self.listen is None else parse_listen(self.listen)


class SimulatorSettings(Frozen):
    """`[simulator]`: if present, vision-line serves virtual PCB cameras itself."""

    cameras: int = Field(16, ge=1, le=64)
    """Number of cameras: rtsp://127.0.0.1:PORT/cam01 and so on."""
    port: int = Field(8554, ge=1, le=65535)
    """The loopback port."""
    seed: int = Field(1, ge=0)
    """Seed of the drawn boards."""
    sent_log: str | None = None
    """Write a JSON line for every sent frame to this path."""


class Config(Frozen):
    """The whole file."""

    config_version: Literal[1]
    """Must be 1."""
    model: ModelSettings = ModelSettings()
    defaults: StreamSettings = StreamSettings()
    record: RecordSettings = RecordSettings()
    clips: ClipSettings | None = None
    dashboard: DashboardSettings = DashboardSettings()
    metrics: MetricsSettings = MetricsSettings()
    review: ReviewSettings | None = None
    shifts: ShiftSettings | None = None
    challenge: ChallengeFileSettings | None = None
    simulator: SimulatorSettings | None = None
    stream: list[Stream] = Field(min_length=1)
    """The cameras."""
    output: list[Output] = []
    """What `vision-line outputs` sends to other systems; a run only checks it."""
    lane: list[LaneSettings] = []
    """Where parts pass, and what `vision-line lanes` decides; a run only checks it."""
    modbus: ModbusSettings | None = None
    """Where a PLC asks `vision-line lanes`; a run only checks it."""
    coil: list[CoilSettings] = []
    """Outputs of remote I/O modules that `vision-line lanes` switches; a run only checks it."""
    central: CentralSettings | None = None
    """The database of many boxes that `vision-line ship` ships the records to; a run only checks it."""
    recipe: dict[str, RecipeSettings] = {}
    """What is inspected otherwise while a product is made, by the recipe's name."""

    @field_validator("recipe")
    @classmethod
    def _recipe_names(cls, value: dict[str, RecipeSettings]) -> dict[str, RecipeSettings]:
        if wrong := [name for name in value if not NAME.fullmatch(name)]:
            raise ValueError(f"expected names of 1 to 64 letters, digits, '_', '.', '-', found {wrong[0]!r}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _inherit_defaults(cls, data: object) -> object:
        """Fill every `[[stream]]` with the values of `[defaults]` that it does not set."""
        if not isinstance(data, dict) or not isinstance(data.get("stream"), list):
            return data
        defaults = data.get("defaults", {})
        if not isinstance(defaults, dict):
            return data
        known = {key: value for key, value in defaults.items() if key in StreamSettings.model_fields}
        streams = [known | stream if isinstance(stream, dict) else stream for stream in data["stream"]]
        return data | {"stream": streams}

    @property
    def enabled_streams(self) -> tuple[Stream, ...]:
        """The cameras that are opened."""
        return tuple(stream for stream in self.stream if stream.enabled)

    @property
    def enabled_outputs(self) -> tuple[str, ...]:
        """The names of the outputs that are to get something; the database of many boxes is `central` among them."""
        central = () if self.central is None else ("central",)
        return (*(output.name for output in self.output if output.enabled), *central)
