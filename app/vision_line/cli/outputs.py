# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a command writes: looked at before hours of work, and a reader of its output that went away."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vision_line.errors import ConfigError, RunError

#: As of a program that the signal SIGPIPE ended: the reader of the output (`| head`) did not want more of it.
EXIT_OUTPUT_CLOSED = 141


def file_problem(path: Path) -> str:
    """Return why the file `path` cannot be written, "" when it can; nothing is left behind."""
    return f"{path}: is a folder" if path.is_dir() else _problem(path, path.parent)


def folder_problem(path: Path) -> str:
    """Return why the folder `path` cannot be made or written, "" when it can; nothing is left behind."""
    return _problem(path, next(place for place in (path, *path.absolute().parents) if place.exists()))


def check_outputs(files: dict[str, Path | None], folders: dict[str, Path | None]) -> None:
    """Refuse outputs, by the option or key that names them, that cannot be written.

    Raises:
        ConfigError: all of them.
    """
    problems = [(name, file_problem(path)) for name, path in files.items() if path is not None]
    problems += [(name, folder_problem(path)) for name, path in folders.items() if path is not None]
    if found := [f"{name} {problem}" for name, problem in problems if problem]:
        raise ConfigError(*found)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system refuses while `path` is written into one sentence.

    Raises:
        RunError: it could not be written.
    """
    try:
        yield
    except OSError as exc:
        raise RunError(f"{path}: cannot be written: {exc.strerror or exc}") from exc


def tell(text: str) -> None:
    """Write a last line to the standard output; that nobody reads it any more changes nothing."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        let_go_of_output()


def let_go_of_output() -> None:
    """Lead the standard output nowhere: what waits in its buffer would fail once more when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _problem(path: Path, place: Path) -> str:
    """Say why nothing can be written in `place`: by trying, since permissions do not tell it all."""
    try:
        with tempfile.TemporaryFile(dir=place):
            return ""
    except OSError as exc:
        return f"{path}: cannot be written: {exc.strerror or exc}"
