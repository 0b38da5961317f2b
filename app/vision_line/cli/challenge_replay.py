# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line challenge replay`: recorded clips through the line's own models, settings and tracker."""

from __future__ import annotations

import logging
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vision_line.challenges.clip_plan import PlannedClip
from vision_line.challenges.clip_results import (
    ClipResult,
    InspectedClip,
    ReplayBody,
    clip_result,
    enter_replay,
    replay_outcome,
)
from vision_line.challenges.showing import share, shown
from vision_line.cli.challenge import OUTCOME_CODES, ChallengedLine, moment
from vision_line.cli.command_user import command_user
from vision_line.cli.replayed_clip import ReplayedClip, recipes_in_force
from vision_line.devices.model.model import open_model
from vision_line.errors import ConfigError, ExitCode
from vision_line.frames import Verdict
from vision_line.records.schema import open_reader
from vision_line.reinspection.file_line import RECORDS, LineModel, inspect_files
from vision_line.runtime.options import RunOptions, model_path
from vision_line.screens.lines import say
from vision_line.screens.logs import logging_to_stream

_RUN = "SELECT version, device, model_name, model_sha256 FROM runs"
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
class _Replayed:
    """What one model showed: what ran, and the clips that it inspected with their results."""

    version: str
    device: str
    model: tuple[str, str]
    results: Sequence[tuple[ReplayedClip, ClipResult]]


def replay_clips(line: ChallengedLine, options: ReplayOptions) -> ExitCode:
    """Inspect the clips, enter what they show, say it; nothing of it is in the records.

    Raises:
        VisionLineError: a clip is none of the plan, or cannot be inspected to its end: then nothing is entered.
    """
    in_force = recipes_in_force(line.loaded, line.directory)
    chosen = _chosen(line, options.files)
    clips = [ReplayedClip.of(number, clip, line.loaded, in_force) for number, clip in enumerate(chosen, 1)]
    by_model = _by_model(line, options, clips)
    at_utc = round(time.time(), 3)
    with tempfile.TemporaryDirectory(prefix="vision-line-replay-") as made, logging_to_stream(level=logging.WARNING):
        replayed = []
        for number, (model, own) in enumerate(by_model.items()):
            folder = Path(made) / str(number)
            folder.mkdir()
            if _inspect(line, options, model, own, folder) is ExitCode.INTERRUPTED:
                return ExitCode.INTERRUPTED
            with closing(open_reader(folder / RECORDS)) as connection:
                replayed.append(_replayed(connection, own))
    body = _body(line, clips, replayed, at_utc)
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
        under = f" under recipe {clip.recipe}" if clip.recipe else ""
        by = f" by {clip.model_name}" if len(body.models) > 1 else ""
        yield f"  {clip.file} as {clip.camera}{under}{by}: {clip.outcome}{lacking}{rejected}, {clip.frames} frames"
    yield f"  {found.says}"
    if found.counts.good:
        low, high = found.false_reject_interval
        rejects = f"{found.counts.falsely_rejected} of {found.counts.good} good clips rejected"
        yield f"  {rejects}, between {share(low)} and {share(high)}"
    for name, sha256 in body.models:
        yield f"  model {name} {sha256[:12]} on {body.device}"


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


def _by_model(
    line: ChallengedLine, options: ReplayOptions, clips: Sequence[ReplayedClip]
) -> dict[Path | None, list[ReplayedClip]]:
    """Return the clips by the model that inspects them, the line's own first.

    Raises:
        ConfigError: a clip expects what its model cannot find.
        ModelError: a model cannot be used.
    """
    found: dict[Path | None, list[ReplayedClip]] = {}
    for one in sorted(clips, key=lambda each: each.model is not None):
        own = model_path(RunOptions(line.loaded.path, model=options.model), line.loaded)
        found.setdefault(one.model or own, []).append(one)
    problems = []
    for path, of_model in found.items():
        model = open_model(path)
        for one in of_model:
            under = f", which inspects it under recipe {one.recipe}" if one.recipe else ""
            problems += [
                f"{line.plan.path}: clip {one.clip.name} expects {name!r}, no class of model {model.name}{under},"
                f" expected one of {', '.join(model.classes)}"
                for name in sorted(one.clip.expects - {*model.classes})
            ]
    if problems:
        raise ConfigError(*problems)
    return found


def _inspect(
    line: ChallengedLine, options: ReplayOptions, path: Path | None, clips: Sequence[ReplayedClip], folder: Path
) -> ExitCode:
    """Inspect clips as files of a line of its own, whose configuration and records are in `folder`.

    Raises:
        VisionLineError: as a run does.
    """
    settings = line.loaded.config.model
    model = LineModel(
        path=path,
        device=options.device or settings.device,
        max_input_shapes=settings.max_input_shapes,
        allow_failed_gates=options.allow_failed_gates,
    )
    return inspect_files(model, [clip.camera for clip in clips], folder)


def _replayed(connection: sqlite3.Connection, clips: Sequence[ReplayedClip]) -> _Replayed:
    version, device, name, sha256 = connection.execute(_RUN).fetchone()
    frames = dict(connection.execute(_FRAMES).fetchall())
    found = connection.execute(_FOUND, (Verdict.ACCEPT,)).fetchall()
    results = []
    for one in clips:
        classes = frozenset(class_name for camera, class_name in found if camera == one.name)
        inspected = InspectedClip(
            sha256=one.sha256,
            recipe=one.recipe,
            settings_sha256=one.settings_sha256,
            model_name=name,
            model_sha256=sha256,
            found=classes,
            frames=frames.get(one.name) or 0,
        )
        results.append((one, clip_result(one.clip, inspected)))
    return _Replayed(version, device, (name, sha256), results)


def _body(
    line: ChallengedLine, clips: Sequence[ReplayedClip], replayed: Sequence[_Replayed], at_utc: float
) -> ReplayBody:
    found = {one.name: result for each in replayed for one, result in each.results}
    results = tuple(found[clip.name] for clip in clips)
    outcome, why = replay_outcome(results, line.plan.limits)
    first = replayed[0]
    return ReplayBody(
        by=command_user(),
        at_utc=at_utc,
        version=first.version,
        model_name=first.model[0],
        model_sha256=first.model[1],
        device=first.device,
        plan_sha256=line.plan.sha256,
        miss=line.plan.limits.miss,
        false_reject=line.plan.limits.false_reject,
        outcome=outcome,
        why=why,
        clips=results,
    )
