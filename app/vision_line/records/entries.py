# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the log takes: a run, its cameras, and the entries that wait in its backlog.

An entry is what one call of the log leaves. It holds no frame data, so that a backlog that grows holds bytes by the
hundred and not by the megabyte.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from vision_line.frames import (
    MASK_BYTES,
    ClockStep,
    CoverageMinute,
    DefectEvent,
    Inspection,
    NotInspected,
    Observation,
    StateChange,
)
from vision_line.inspection.tracking.candidates import Candidate
from vision_line.records.file_tables import RowKey


class CameraLabels(NamedTuple):
    """What rows of a camera bear beside its name."""

    station: str = ""
    recipe: str = ""


@dataclass(frozen=True, slots=True)
class CameraRecord:
    """What is written about a camera.

    `url` is the masked one, `settings` what it is inspected by, as JSON; empty: as they were. `model_name` and
    `model_sha256` are the model's that inspects it; empty: the run's own. `epoch` is that of the fleet's plan under
    which this box inspects it; 0: it shares it with no other.
    """

    name: str
    station: str
    recipe: str
    url: str
    settings: str = ""
    model_name: str = ""
    model_sha256: str = ""
    epoch: int = 0

    @property
    def labels(self) -> CameraLabels:
        """What rows bear from this record on."""
        return CameraLabels(self.station, self.recipe)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is written about a run: enough to say later which program, settings and model came to a verdict.

    `node` is what the box is called in its `fleet`; empty: it is in none.
    """

    version: str
    started_utc: float
    config_sha256: str
    model_name: str
    model_sha256: str
    precision: str
    device: str
    host: str
    cameras: tuple[CameraRecord, ...] = ()
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    node: str = ""
    fleet: str = ""


@dataclass(frozen=True, slots=True)
class InspectedEntry:
    """A frame in which something was found; without its data."""

    inspection: Inspection
    events: tuple[DefectEvent, ...]


@dataclass(frozen=True, slots=True)
class EventsEntry:
    """Event changes that no frame brought: tracks that ran out."""

    events: tuple[DefectEvent, ...]


@dataclass(frozen=True, slots=True)
class CoverageEntry:
    """Ledger rows."""

    minutes: tuple[CoverageMinute, ...]
    intervals: tuple[NotInspected, ...]


@dataclass(frozen=True, slots=True)
class ClockStepsEntry:
    """Steps of the wall clock."""

    steps: tuple[ClockStep, ...]


@dataclass(frozen=True, slots=True)
class StatesEntry:
    """Camera state changes."""

    changes: tuple[StateChange, ...]


@dataclass(frozen=True, slots=True)
class CamerasEntry:
    """The cameras from now on, after the configuration was read again."""

    cameras: tuple[CameraRecord, ...]
    since_utc: float


@dataclass(frozen=True, slots=True)
class FirstInspectionEntry:
    """A camera was inspected for the first time since it was given to this box."""

    camera: str
    inspected_utc: float


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """What inspects, once it is open: which variant of the model on which instruction set, and why."""

    precision: str
    instruction_set: str
    variant: str
    variant_reason: str


@dataclass(frozen=True, slots=True)
class ConfigurationEntry:
    """What is in force, for the journal: JSON values by their key, without passwords.

    `why` it is said (`start`, `reload`), and `source`: what is known of who set it. Of the keys that begin with
    `complete` all are there: others that were in force are not any more. None: nothing is said of others.
    """

    why: str
    settings: Mapping[str, object]
    complete: str | None
    source: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class DoubtEntry:
    """What was inspected from `since_utc` to `until_utc`, by the wall clock, may be wrong, on every camera; and why."""

    since_utc: float
    until_utc: float
    why: str


@dataclass(frozen=True, slots=True)
class EvidenceEntry:
    """The images of an event are on the disk and show `observation`, or `missing` says why there are none."""

    event_id: str
    created_utc: float
    path: str | None = None
    overlay_path: str | None = None
    crop_path: str | None = None
    sha256: str | None = None
    overlay_sha256: str | None = None
    crop_sha256: str | None = None
    size: int = 0
    missing: str | None = None
    observation: Observation | None = None


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """A clip of `events` is on the disk, or `missing` says why there is none; `note` why it is not as it should be.

    `begins` and `ends` are the arrivals of its first and last frame. `labels` are those of its first event: it is
    entered when it is over, and another recipe may be in force by then.
    """

    clip_id: str
    camera: str
    events: tuple[str, ...]
    labels: CameraLabels
    created_utc: float
    begins_utc: float | None = None
    begins_s: float | None = None
    ends_utc: float | None = None
    ends_s: float | None = None
    codec: str = ""
    frames: int = 0
    reencoded: bool = False
    note: str = ""
    path: str | None = None
    sha256: str | None = None
    size: int = 0
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class FileDeletedEntry:
    """The files of a row of `table` were removed, and why; `run` may be an earlier one, `key` names the row in it."""

    table: str
    run: int
    key: RowKey
    deleted_utc: float
    why: str


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image for review is on the disk, or `missing` says why there is none."""

    created_utc: float
    path: str | None = None
    sha256: str | None = None
    size: int = 0
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class NearMissEntry:
    """A track that never became an event, under these labels; its image was to be kept with this probability."""

    candidate: Candidate
    labels: CameraLabels
    probability: float
    image: StoredImage


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A frame that was inspected under these labels and drawn with this probability, without its data."""

    inspection: Inspection
    labels: CameraLabels
    probability: float
    image: StoredImage


Entry = (
    InspectedEntry
    | EventsEntry
    | CoverageEntry
    | ClockStepsEntry
    | StatesEntry
    | CamerasEntry
    | FirstInspectionEntry
    | DeviceEntry
    | ConfigurationEntry
    | DoubtEntry
    | EvidenceEntry
    | ClipEntry
    | FileDeletedEntry
    | NearMissEntry
    | AuditEntry
)


def inspected_entry(inspection: Inspection, events: Sequence[DefectEvent]) -> InspectedEntry:
    """Take from an inspection what is recorded, and let go of its frame data."""
    return InspectedEntry(without_frame_data(inspection), tuple(events))


def without_frame_data(inspection: Inspection) -> Inspection:
    """Return an inspection that keeps no pixels."""
    return Inspection(
        inspection.frame.without_data(), inspection.detections, inspection.submitted_s, inspection.finished_s
    )


def _bytes_of(events: Sequence[DefectEvent]) -> int:
    # its own observation, the first and the last one may each have a mask
    return 640 * len(events) + 3 * MASK_BYTES * sum(event.mask is not None for event in events)


def estimated_bytes(entry: Entry) -> int:
    """Return about how many bytes of memory `entry` takes in a backlog."""
    match entry:
        case InspectedEntry() | AuditEntry():
            found = entry.inspection.detections
            of_each = 32 if found.masks is None else 32 + MASK_BYTES
            events = entry.events if isinstance(entry, InspectedEntry) else ()
            return 1020 + of_each * len(found) + _bytes_of(events)
        case CoverageEntry():
            return 200 + 500 * len(entry.minutes) + 300 * len(entry.intervals)
        case EventsEntry():
            return 200 + _bytes_of(entry.events)
        case StatesEntry():
            return 200 + 300 * len(entry.changes)
        case ConfigurationEntry():
            return 800 + 2000 * len(entry.settings)
        case _:
            return 800
