# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where images and clips come from: the folder of a box, or for the desk of all boxes the box that has them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from vision_line.errors import RunError
from vision_line.records.directory import ForeignFileError, open_stored


class FileGoneError(RunError):
    """The file is not there any more, or was never one of these records."""


class UnreachableBoxError(RunError):
    """The box that has the file cannot be asked now; the message says which, and what would be shown."""


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file as its row names it: of which run, where in which folder of its records, and its SHA-256."""

    run: int
    folder: str
    path: str
    sha256: str | None
    what: str  # in words


class FileSource(Protocol):
    """Opens files that rows name. What was recorded under a hash is for the caller to check."""

    def open(self, wanted: RecordedFile) -> BufferedReader:
        """Return the file, to be closed by the caller.

        Raises:
            FileGoneError: there is none.
            UnreachableBoxError: the box that has it cannot be asked.
            RunError: it cannot be read.
        """
        ...


class OwnFiles:
    """The files of a record directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def open(self, wanted: RecordedFile) -> BufferedReader:
        """Return the file; raises as `FileSource.open`."""
        try:
            return os.fdopen(open_stored(self._directory, wanted.path, wanted.folder), "rb")
        except FileNotFoundError as exc:
            raise FileGoneError("the file is gone") from exc
        except ForeignFileError as exc:
            raise FileGoneError("the row names a file that is none of these records") from exc
        except OSError as exc:
            raise RunError(f"the file cannot be read: {exc.strerror}") from exc
