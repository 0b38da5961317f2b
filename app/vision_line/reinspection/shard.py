# SPDX-License-Identifier: AGPL-3.0-or-later
"""Some footage and one model: what one process inspects at a time, here or on another machine of a cluster."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from vision_line import __version__
from vision_line.config.models import Frozen
from vision_line.devices.model.model import open_model
from vision_line.errors import ExitCode, ModelError, RunError
from vision_line.records.directory import ForeignFileError, check_stored
from vision_line.records.file_tables import AUDITS, CLIPS, EVIDENCE, NEAR_MISSES
from vision_line.records.schema import open_reader
from vision_line.reinspection.file_line import RECORDS, FileCamera, LineModel, UnrecordableError, inspect_files
from vision_line.reinspection.footage import FootageKind, FoundDefect, Recording, Reinspected, TimedBox
from vision_line.reinspection.model_fingerprint import ModelFingerprint

_FOLDERS = {
    FootageKind.CLIP: CLIPS.folder,
    FootageKind.EVENT: EVIDENCE.folder,
    FootageKind.NEAR_MISS: NEAR_MISSES.folder,
    FootageKind.AUDIT: AUDITS.folder,
}
#: An image is no part on a belt: each is inspected, like the one before it or not.
_OF_IMAGES = {"min_hits": 1, "min_looks": 1, "may_stand_still": True}
#: Recordings may be of cameras of any aspect ratio: as many input shapes as there can be.
_MOST_SHAPES = 8
_BY_CLASS = ("thresholds", "reject_thresholds", "warn_thresholds")

_INSPECTED = "SELECT camera, sum(inspected) FROM coverage GROUP BY camera"
#: Only frames with a detection that counts have their time in the records.
_TIMES = "SELECT DISTINCT sequence, pts_s FROM detections WHERE camera = ? ORDER BY sequence"
_EVENTS = """SELECT class, verdict, top_score, first_sequence, first_x1, first_y1, first_x2, first_y2,
    last_sequence, last_x1, last_y1, last_x2, last_y2 FROM events WHERE camera = ? ORDER BY event"""
#: Of a folder of images, frame 0 is the first one.
_DETECTIONS = "SELECT sequence, class, score, x1, y1, x2, y2 FROM detections WHERE camera = ? ORDER BY detection"


class Shard(Frozen):
    """Recordings of `directory` and the model that inspects them, for the program of a `version`.

    `computation` is how the machine of the command computes the model, "" where it cannot; `device` is what was asked.
    """

    directory: Path
    model: Path | None
    fingerprint: ModelFingerprint
    version: str
    device: str
    computation: str
    allow_failed_gates: bool
    footage: tuple[Recording, ...]

    @property
    def key(self) -> str:
        """What names the result: it rises with all that the result depends on."""
        content = self.model_dump_json(exclude={"directory", "model", "allow_failed_gates"})
        return hashlib.sha256(content.encode()).hexdigest()[:24]


class ShardResult(Frozen):
    """What the model finds in each footage of a shard, in its order."""

    found: tuple[Reinspected, ...]


def inspect_shard(shard: Shard) -> ShardResult:
    """Inspect the footage; what is not what was recorded, or cannot be inspected, says so and spoils no other.

    Raises:
        VisionLineError: nothing can be recorded, the model cannot be used, or it or the program is another one by now;
            KeyboardInterrupt: a signal asked for the end.
    """
    if shard.version != __version__:
        raise RunError(f"expected vision-line {shard.version}, as when this began, found {__version__}")
    if differences := shard.fingerprint.differences(ModelFingerprint.of(open_model(shard.model))):
        raise ModelError(f"{shard.model}: is not the model with which this began: {differences}")
    problems = {one.id: problem for one in shard.footage if (problem := _problem(shard, one))}
    usable = [one for one in shard.footage if one.id not in problems]
    found = {one.id: one for one in _inspected(shard, usable)} if usable else {}
    whole = found | {name: Reinspected(id=name, problem=problem) for name, problem in problems.items()}
    return ShardResult(found=tuple(whole[one.id] for one in shard.footage))


def _problem(shard: Shard, one: Recording) -> str:
    """Return why there is nothing to inspect, "" where there is."""
    wanted = one.settings.get("classes")
    if isinstance(wanted, list) and wanted and frozenset(shard.fingerprint.classes).isdisjoint(map(str, wanted)):
        return f"the model has none of the camera's classes: {', '.join(map(str, wanted))}"
    try:
        check_stored(shard.directory, one.path, one.sha256, _FOLDERS[one.kind])
    except FileNotFoundError:
        return "the file is gone"
    except ForeignFileError as exc:
        return str(exc)
    except OSError as exc:
        return f"the file cannot be read: {exc.strerror}"
    return ""


def _inspected(shard: Shard, footage: Sequence[Recording]) -> list[Reinspected]:
    """Inspect all at once; where that fails by a recording, halves of it, down to the one that fails."""
    try:
        with tempfile.TemporaryDirectory(prefix="vision-line-reinspect-") as made:
            return _inspect(shard, footage, Path(made))
    except UnrecordableError:
        raise
    except RunError as exc:
        if len(footage) == 1:
            return [Reinspected(id=footage[0].id, problem=" ".join(str(exc).splitlines()))]
    half = len(footage) // 2
    return _inspected(shard, footage[:half]) + _inspected(shard, footage[half:])


def _inspect(shard: Shard, footage: Sequence[Recording], folder: Path) -> list[Reinspected]:
    cameras = list(_cameras(shard, footage, folder))
    model = LineModel(shard.model, shard.device, _MOST_SHAPES, shard.allow_failed_gates)
    if inspect_files(model, [camera for _, camera in cameras], folder) is ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    with closing(open_reader(folder / RECORDS)) as connection:
        inspected = dict(connection.execute(_INSPECTED).fetchall())
        return [
            one
            for own, camera in cameras
            for one in _results(connection, own, camera.name, int(inspected.get(camera.name) or 0))
        ]


def _cameras(shard: Shard, footage: Sequence[Recording], folder: Path) -> Iterator[tuple[list[Recording], FileCamera]]:
    """Yield cameras with what they show: a clip each, and for all images of a camera's settings one folder."""
    images: dict[tuple[str, str], list[Recording]] = {}
    for number, one in enumerate(footage):
        if one.kind is FootageKind.CLIP:
            yield (
                [one],
                FileCamera(f"clip-{number}", shard.directory / one.path, _settings(one, shard.fingerprint.classes)),
            )
        else:
            images.setdefault((one.camera, str(sorted(one.settings.items()))), []).append(one)
    for number, own in enumerate(images.values()):
        place = folder / "images" / f"{number}"
        place.mkdir(parents=True)
        for index, one in enumerate(own):
            (place / f"{index:06d}.jpg").symlink_to((shard.directory / one.path).absolute())
        yield own, FileCamera(f"images-{number}", place, _settings(own[0], shard.fingerprint.classes) | _OF_IMAGES)


def _settings(one: Recording, classes: Sequence[str]) -> dict[str, object]:
    """Return a camera's settings, less what they say of classes that the model does not have."""
    settings: dict[str, object] = {key: value for key, value in one.settings.items() if key != "inspect_fps"}
    known = frozenset(classes)
    for key in _BY_CLASS:
        if isinstance(own := settings.get(key), Mapping):
            settings[key] = {name: score for name, score in own.items() if name in known}
    if isinstance(wanted := settings.get("classes"), list):
        settings["classes"] = [name for name in wanted if name in known]
    return settings


def _results(
    connection: sqlite3.Connection, own: Sequence[Recording], camera: str, inspected: int
) -> Iterator[Reinspected]:
    wanted = sum(one.frames for one in own)
    problem = f"{inspected} of {wanted} frames were inspected" if inspected < wanted else ""
    if own[0].kind is FootageKind.CLIP:
        yield Reinspected(id=own[0].id, frames=inspected, findings=tuple(_events(connection, camera)), problem=problem)
        return
    found: dict[int, list[FoundDefect]] = {}
    for index, class_name, score, *box in connection.execute(_DETECTIONS, (camera,)):
        finding = FoundDefect(class_name=class_name, score=score, boxes=(TimedBox(0.0, *box),))
        found.setdefault(index, []).append(finding)
    for index, one in enumerate(own):
        yield Reinspected(id=one.id, frames=1, findings=tuple(found.get(index, ())), problem=problem)


def _events(connection: sqlite3.Connection, camera: str) -> Iterator[FoundDefect]:
    sequences, times = np.array(connection.execute(_TIMES, (camera,)).fetchall(), np.float64).reshape(-1, 2).T
    for class_name, verdict, score, *places in connection.execute(_EVENTS, (camera,)):
        (first_s, last_s), first, last = np.interp([places[0], places[5]], sequences, times), places[1:5], places[6:]
        boxes = (TimedBox(first_s, *first), TimedBox(last_s, *last)) if first_s < last_s else (TimedBox(last_s, *last),)
        yield FoundDefect(class_name=class_name, verdict=verdict, score=score, boxes=boxes)
