# SPDX-License-Identifier: AGPL-3.0-or-later
"""Secrets as `config.load` looks for them: a folder with a file for each, which only its owner reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vision_line.output_files import said_of

FOLDER = "secrets"


def holds_other(folder: Path, name: str, value: str) -> bool:
    """Return whether the folder has a secret of this name already, and another one.

    Raises:
        RunError: it cannot be read.
    """
    path = folder / name
    with said_of(path):
        try:
            return path.read_bytes().strip() != value.encode(errors="surrogateescape")
        except FileNotFoundError:
            return False


def named_elsewhere(file: Path, name: str) -> bool:
    """Return whether another TOML file beside `file`, which has the same folder of secrets, needs this one.

    Raises:
        RunError: one cannot be read.
    """
    wanted = f"{{{name}}}".encode()
    for path in file.parent.glob("*.toml"):
        with said_of(path):
            if path.name != file.name and path.is_file() and wanted in path.read_bytes():
                return True
    return False


def write_secrets(folder: Path, secrets: Mapping[str, str]) -> None:
    """Write a file of mode 0600 for each secret into `folder`, made with mode 0700, which version control ignores.

    Raises:
        RunError: they cannot be written.
    """
    if not secrets:
        return
    with said_of(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, value in {**secrets, ".gitignore": "*"}.items():
            _write(folder / name, f"{value}\n".encode(errors="surrogateescape"))


def _write(path: Path, data: bytes) -> None:
    """Replace the file as a whole; at no time may others read it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
    partial.replace(path)
