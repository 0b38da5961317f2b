# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files through the line's own program: a run whose cameras are files, with records of its own in a folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.commissioning.streams_file import toml_string
from vision_line.config.load import load_config
from vision_line.errors import ExitCode
from vision_line.runtime.options import RunOptions
from vision_line.runtime.program import run_program
from vision_line.telemetry.snapshot import Snapshot

#: Of a camera's settings, those that a file has no use for.
OF_CAMERAS = frozenset({"enabled", "transport", "tls_ca_file", "tls_fingerprint", "tls_verify", "paced", "loop"})
#: Where in the folder the records are.
RECORDS = "records"


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
        VisionLineError: as a run does; also where a file cannot be inspected to its end.
    """
    streams = folder / "streams.toml"
    head = f"config_version = 1\n[model]\nmax_input_shapes = {model.max_input_shapes}\n[record]\nevidence = false\n"
    streams.write_text(head + "".join(camera.section(folder) for camera in cameras), encoding="utf-8")
    run = RunOptions(
        streams=streams,
        model=model.path,
        device=model.device,
        headless=True,
        record=folder / RECORDS,
        allow_failed_gates=model.allow_failed_gates,
    )
    return ExitCode(asyncio.run(run_program(run, load_config(streams), [], _no_screen)).exit_code)


async def _no_screen(_get_snapshot: Callable[[], Snapshot]) -> None:
    """Show nothing until the end."""
    await asyncio.Event().wait()


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
