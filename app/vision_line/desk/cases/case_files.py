# SPDX-License-Identifier: AGPL-3.0-or-later
"""The files of a case: which there should be, and what became of each. None is left out without a word."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader
from pathlib import Path

from vision_line.records.directory import ForeignFileError, open_stored


class Fate(StrEnum):
    """What became of a file; only the first two are in the archive."""

    WHOLE = "whole"
    UNPROVED = "no hash was recorded"
    REMOVED = "removed"
    NEVER = "never kept"
    GONE = "gone"
    CHANGED = "changed"
    UNREADABLE = "unreadable"

    @property
    def is_in(self) -> bool:
        """Whether it is in the archive."""
        return self in {Fate.WHOLE, Fate.UNPROVED}


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A file that a row names. `place` is its path in the archive, `path` the one below the record directory.

    Where the records say that there is none, `fate` and `why` say what they say; else they are None and "".
    """

    place: str
    what: str
    folder: str
    path: str
    sha256: str | None
    at_utc: float
    fate: Fate | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class FileFate:
    """What became of a file, in a word and a sentence; `sha256` is that of what is in the archive."""

    wanted: WantedFile
    fate: Fate
    said: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file whose content was looked at; `file` stands at its beginning, and whoever has it closes it."""

    file: BufferedReader
    size: int
    sha256: str


def opened(directory: Path, wanted: WantedFile) -> OpenedFile | FileFate:
    """Return the file if it is to be in the archive, else why it is not."""
    if wanted.fate is not None:
        return FileFate(wanted, wanted.fate, wanted.why)
    try:
        found = _looked_at(os.fdopen(open_stored(directory, wanted.path, wanted.folder), "rb"))
    except FileNotFoundError:
        return FileFate(wanted, Fate.GONE, "the records keep it, but it is not there")
    except ForeignFileError as exc:
        return FileFate(wanted, Fate.CHANGED, f"its place leads elsewhere: {exc}")
    except OSError as exc:
        return FileFate(wanted, Fate.UNREADABLE, f"it cannot be read: {exc.strerror}")
    if wanted.sha256 in {None, found.sha256}:
        return found
    found.file.close()
    return FileFate(wanted, Fate.CHANGED, f"it is not what was recorded: its SHA-256 is {found.sha256}")


def _looked_at(file: BufferedReader) -> OpenedFile:
    """Return an open file with size and SHA-256, at its beginning again; it is closed where that fails.

    Raises:
        OSError: it cannot be read.
    """
    try:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        file.seek(0)
    except OSError:
        file.close()
        raise
    return OpenedFile(file, size, sha256)


def kept(wanted: WantedFile, sha256: str) -> FileFate:
    """Return what to say of a file that is in the archive."""
    if wanted.sha256 is None:
        return FileFate(wanted, Fate.UNPROVED, "as it is: an older version recorded no SHA-256 of it", sha256)
    return FileFate(wanted, Fate.WHOLE, "as it was recorded", sha256)
