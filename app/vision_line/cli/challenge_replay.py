# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line challenge replay`: recorded clips through the line's own model, settings and tracker."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vision_line.challenges.clip_plan import PlannedClip
from vision_line.challenges.clip_results import ClipResult, ReplayBody, clip_result, enter_replay, replay_outcome
from vision_line.challenges.showing import share, shown
from vision_line.cli.challenge import OUTCOME_CODES, ChallengedLine, moment
from vision_line.cli.command_user import command_user
from vision_line.config.models import Config, Stream, StreamSettings
from vision_line.errors import ConfigError, ExitCode
from vision_line.frames import Verdict
from vision_line.records.schema import open_reader
from vision_line.reinspection.file_line import OF_CAMERAS, RECORDS, FileCamera, LineModel, inspect_files
from vision_line.runtime.options import RunOptions, model_path
from vision_line.screens.lines import say
from vision_line.screens.logs import logging_to_stream

_RUN = "SELECT version, model_name, model_sha256, device FROM runs"
_FRAMES = "SELECT camera, sum(inspected) FROM coverage GROUP BY camera"
_FOUND = "SELECT DISTINCT camera, class FROM events WHERE verdict != ?"
_NO_CLIPS = "expected [[clip]], which says what is to be found in which file, found none"


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What is asked for beside the plan; None: as `streams.toml` says."""

    files: Sequence[Path]
    model: Path | None
    device: str | None
    allow_failed_gates: bool


@dataclass(frozen=True, slots=True)
class ReplayedClip:
    """A clip with the name of the camera that it is in the run, and its settings."""

    clip: PlannedClip
    name: str
    stream: Stream
    sha256: str

    @classmethod
    def of(cls, number: int, clip: PlannedClip, config: Config) -> ReplayedClip:
        """Return clip `number`; its content is read once.

        Raises:
            ConfigError: the file cannot be read.
        """
        stream = next(one for one in config.stream if one.name == clip.camera)
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", clip.path.stem)[:50]
        return cls(clip, f"{number:03d}-{plain}", stream, _sha256(clip))

    @property
    def settings_sha256(self) -> str:
        """The digest of the camera's settings, as the records have them."""
        return hashlib.sha256(self.stream.settings_json.encode()).hexdigest()

    @property
    def camera(self) -> FileCamera:
        """The clip as a camera with the settings of the one that it stands for."""
        kept = StreamSettings.model_fields.keys() - OF_CAMERAS
        settings = json.loads(self.stream.model_dump_json(include={*kept}, exclude_none=True))
        return FileCamera(self.name, self.clip.path, settings)


def replay_clips(line: ChallengedLine, options: ReplayOptions) -> ExitCode:
    """Inspect the clips, enter what they show, say it; nothing of it is in the records.

    Raises:
        VisionLineError: a clip is none of the plan, or cannot be inspected to its end: then nothing is entered.
    """
    config = line.loaded.config
    chosen = _chosen(line, options.files)
    clips = [ReplayedClip.of(number, clip, config) for number, clip in enumerate(chosen, 1)]
    with tempfile.TemporaryDirectory(prefix="vision-line-replay-") as made, logging_to_stream(level=logging.WARNING):
        at_utc = round(time.time(), 3)
        if _inspect(line, options, clips, Path(made)) is ExitCode.INTERRUPTED:
            return ExitCode.INTERRUPTED
        with closing(open_reader(Path(made) / RECORDS)) as connection:
            body = _body(connection, line, clips, at_utc)
    enter_replay(line.directory, body)
    show_replay(body)
    return OUTCOME_CODES[body.outcome]


def show_replay(body: ReplayBody) -> None:
    """Print what clips showed."""
    for one in _lines(body):
        say(one, sys.stdout)


def _lines(body: ReplayBody) -> Iterator[str]:
    found = shown(body.clips)
    why = "".join(f"; {one}" for one in body.why)
    yield f"{moment(body.at_utc)} recorded clips (software, not optics): {body.outcome}{why}"
    for clip in body.clips:
        lacking = f" (not found: {', '.join(clip.missing)})" if clip.missing else ""
        rejected = f" ({', '.join(sorted(clip.found))})" if clip.found and not clip.expects else ""
        yield f"  {clip.file} as {clip.camera}: {clip.outcome}{lacking}{rejected}, {clip.frames} frames"
    yield f"  {found.says}"
    if found.counts.good:
        low, high = found.false_reject_interval
        rejects = f"{found.counts.falsely_rejected} of {found.counts.good} good clips rejected"
        yield f"  {rejects}, between {share(low)} and {share(high)}"
    yield f"  model {body.model_name} {body.model_sha256[:12]} on {body.device}"


def _chosen(line: ChallengedLine, files: Sequence[Path]) -> list[PlannedClip]:
    """Return the clips of these files; of none, all.

    Raises:
        ConfigError: a file is none of the plan, or it has none.
    """
    clips = line.plan.clips
    if not clips:
        raise ConfigError(f"{line.plan.path}: {_NO_CLIPS}")
    wanted = {file.absolute() for file in files}
    found = [clip for clip in clips if not files or clip.path in wanted or Path(clip.name) in files]
    known = {clip.path for clip in found} | {Path(clip.name) for clip in found}
    if unknown := [file for file in files if file not in known and file.absolute() not in known]:
        raise ConfigError(*(f"{file}: expected the file of a [[clip]] of {line.plan.path}" for file in unknown))
    return found


def _sha256(clip: PlannedClip) -> str:
    try:
        with clip.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise ConfigError(f"{clip.path}: cannot be read: {exc.strerror}") from exc


def _inspect(line: ChallengedLine, options: ReplayOptions, clips: Sequence[ReplayedClip], folder: Path) -> ExitCode:
    """Inspect the clips as files of a line of its own, whose configuration and records are in `folder`.

    Raises:
        VisionLineError: as a run does.
    """
    settings = line.loaded.config.model
    model = LineModel(
        path=model_path(RunOptions(line.loaded.path, model=options.model), line.loaded),
        device=options.device or settings.device,
        max_input_shapes=settings.max_input_shapes,
        allow_failed_gates=options.allow_failed_gates,
    )
    return inspect_files(model, [clip.camera for clip in clips], folder)


def _body(
    connection: sqlite3.Connection, line: ChallengedLine, clips: Sequence[ReplayedClip], at_utc: float
) -> ReplayBody:
    version, model_name, model_sha256, device = connection.execute(_RUN).fetchone()
    results = tuple(_results(connection, clips))
    outcome, why = replay_outcome(results, line.plan.limits)
    return ReplayBody(
        by=command_user(),
        at_utc=at_utc,
        version=version,
        model_name=model_name,
        model_sha256=model_sha256,
        device=device,
        plan_sha256=line.plan.sha256,
        miss=line.plan.limits.miss,
        false_reject=line.plan.limits.false_reject,
        outcome=outcome,
        why=why,
        clips=results,
    )


def _results(connection: sqlite3.Connection, clips: Sequence[ReplayedClip]) -> Iterator[ClipResult]:
    frames = dict(connection.execute(_FRAMES).fetchall())
    found = connection.execute(_FOUND, (Verdict.ACCEPT,)).fetchall()
    for one in clips:
        classes = frozenset(class_name for camera, class_name in found if camera == one.name)
        yield clip_result(one.clip, one.sha256, one.settings_sha256, classes, frames.get(one.name) or 0)
