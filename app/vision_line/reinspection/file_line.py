# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files through the line's own program: a run whose cameras are files, with records of its own in a folder."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.commissioning.streams_file import toml_string
from vision_line.config.load import load_config
from vision_line.errors import ExitCode, RunError
from vision_line.leaving import run_with_signals_held
from vision_line.runtime.options import RunOptions
from vision_line.runtime.program import run_program
from vision_line.telemetry.snapshot import Snapshot

#: Of a camera's settings, those that a file has no use for.
OF_CAMERAS = frozenset({"enabled", "transport", "tls_ca_file", "tls_fingerprint", "tls_verify", "paced", "loop"})
#: Where in the folder the records are.
RECORDS = "records"
#: A live line waits for a disk that is full; who waits for files is told after so long.
UNRECORDED_S = 30.0
_GLANCE_S = 0.5


class UnrecordableError(RunError):
    """What is found cannot be written down: no other files would fare better."""


@dataclass(frozen=True, slots=True)
class FileCamera:
    """A file, or a folder of images, as a camera called `name`; `settings` by their keys in `streams.toml`."""

    name: str
    path: Path
    settings: Mapping[str, object]

    def section(self, folder: Path) -> str:
        """Return the `[[stream]]` of it. The file is linked into `folder`: its own name may be no URL."""
        link = folder / self.name
        link.symlink_to(self.path.absolute())
        settings = {**self.settings, "name": self.name, "url": f"file:{link}", "paced": False}
        return "[[stream]]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in sorted(settings.items()))


@dataclass(frozen=True, slots=True)
class LineModel:
    """What the files are inspected with; `path` None is the shipped model."""

    path: Path | None
    device: str
    max_input_shapes: int = 1
    allow_failed_gates: bool = False


def inspect_files(model: LineModel, cameras: Sequence[FileCamera], folder: Path) -> ExitCode:
    """Inspect every frame of the files; what is found is in the records below the empty `folder`.

    Raises:
        UnrecordableError: nothing could be recorded in `folder` for some time.
        VisionLineError: as a run does; also where a file cannot be inspected to its end.
    """
    streams = folder / "streams.toml"
    head = f"config_version = 1\n[model]\nmax_input_shapes = {model.max_input_shapes}\n"
    record = "[record]\nevidence = false\nmin_free_mb = 0\n"  # nothing else needs room there
    streams.write_text(head + record + "".join(camera.section(folder) for camera in cameras), encoding="utf-8")
    run = RunOptions(
        streams=streams,
        model=model.path,
        device=model.device,
        headless=True,
        record=folder / RECORDS,
        allow_failed_gates=model.allow_failed_gates,
    )
    watch = RecordingWatch(folder)
    try:
        return ExitCode(run_with_signals_held(run_program(run, load_config(streams), [], watch)).exit_code)
    except RunError as exc:  # perhaps of closing what could not be recorded, which hides why
        if watch.problem:
            raise UnrecordableError(watch.problem) from exc
        raise


@dataclass
class RecordingWatch:
    """Stands in place of a run's screen, and ends a run that can record nothing in `folder`.

    `problem` says why nothing could be recorded when it was seen last, also as the run ended; "": it could.
    """

    folder: Path
    problem: str = ""

    async def __call__(self, get_snapshot: Callable[[], Snapshot]) -> None:
        """Watch until the end.

        Raises:
            UnrecordableError: nothing could be recorded for UNRECORDED_S.
        """
        recorded_s = time.monotonic()
        try:
            while True:
                self._check(get_snapshot)
                recorded_s = recorded_s if self.problem else time.monotonic()
                if time.monotonic() - recorded_s >= UNRECORDED_S:
                    raise UnrecordableError(self.problem)
                await asyncio.sleep(_GLANCE_S)
        finally:
            self._check(get_snapshot)

    def _check(self, get_snapshot: Callable[[], Snapshot]) -> None:
        log = get_snapshot().log
        words = f"{self.folder}: nothing can be recorded: {log.reason}; TMPDIR names another folder"
        self.problem = "" if log.writable else words


def _toml(value: object) -> str:
    """Return a setting as TOML has it."""
    match value:
        case str():
            return toml_string(value)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{toml_string(name)} = {_toml(one)}' for name, one in value.items())}}}"
    return json.dumps(value)
