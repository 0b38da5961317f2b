# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a command writes, looked at before hours of work."""

from __future__ import annotations

import tempfile
from pathlib import Path

from vision_line.errors import ConfigError
from vision_line.output_files import STANDARD_OUTPUT, output_problem, place_of, said_of


def folder_problem(path: Path) -> str:
    """Return why the folder `path` cannot be made or written, "" when it can; nothing is left behind."""
    if path == STANDARD_OUTPUT:
        return f"{path}: stands for the standard output, expected a folder"
    return _problem(path, next(place for place in (path, *path.absolute().parents) if place.exists()))


def check_outputs(files: dict[str, Path | None], folders: dict[str, Path | None]) -> None:
    """Refuse outputs, by the option or key that names them, that cannot be written.

    Raises:
        ConfigError: all of them.
    """
    problems = [(name, output_problem(path)) for name, path in files.items() if path is not None]
    problems += [(name, folder_problem(path)) for name, path in folders.items() if path is not None]
    if found := [f"{name} {problem}" for name, problem in problems if problem]:
        raise ConfigError(*found)


def check_live_logs(files: dict[str, Path | str | None]) -> None:
    """Refuse logs that another process writes as it goes, where they cannot be written or are this process's own.

    Raises:
        ConfigError: all of them.
    """
    paths = {name: Path(path) for name, path in files.items() if path is not None}
    check_outputs(dict(paths), {})
    if own := [
        f"{name} {path}: expected a file" for name, path in paths.items() if place_of(path).descriptor is not None
    ]:
        raise ConfigError(*own)


def takes_standard_output(output: Path | None) -> bool:
    """Whether `output` goes to the standard output, where nothing else belongs then.

    Raises:
        ConfigError, RunError: it is no output.
    """
    if output is None:
        return False
    with said_of(output):
        return place_of(output).is_standard_output


def _problem(path: Path, place: Path) -> str:
    """Say why nothing can be written in `place`: by trying, since permissions do not tell it all."""
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as exc:
        return f"{path}: cannot be written: {exc.strerror or exc}"
