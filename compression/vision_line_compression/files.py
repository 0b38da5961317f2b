# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files that are there whole or not at all, and what is in them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vision_line.errors import ConfigError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file that is there."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
