# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images of a record directory by the paths in its record file, which may be somebody else's and is not trusted.

Only what lies below the directory's `evidence` folder, links followed, is read or removed; what is read has the hash
that its row says.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from vision_line.errors import RunError

FOLDER = "evidence"


class ForeignEvidenceError(RunError):
    """A row's image is not the one that was written: another content, or a path that leads elsewhere."""


def stored_path(directory: Path, path: str) -> Path:
    """Return where the image `path` of a row lies below `directory`; it need not be there.

    Raises:
        ForeignEvidenceError: the path leads out of the evidence folder, as it is written or by links.
    """
    relative = Path(path)
    if "\0" in path or relative.is_absolute() or relative.parts[:1] != (FOLDER,) or ".." in relative.parts:
        raise ForeignEvidenceError(f"{path!r}: leads out of the evidence folder")
    root = directory.resolve() / FOLDER
    place = root.parent / relative
    if not place.resolve().is_relative_to(root):
        raise ForeignEvidenceError(f"{path!r}: leads out of the evidence folder by a link")
    return place


def read_stored(directory: Path, path: str, sha256: str | None) -> bytes:
    """Return the content of the image `path`.

    Raises:
        FileNotFoundError: it is gone.
        ForeignEvidenceError: it is not what was written.
        OSError: it cannot be read.
    """
    place = stored_path(directory, path)
    if not stat.S_ISREG(place.stat().st_mode):
        raise ForeignEvidenceError(f"{path!r}: is no file")
    data = place.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ForeignEvidenceError(f"{path!r}: is not the image that was recorded: its SHA-256 differs")
    return data


def remove_stored(directory: Path, path: str) -> None:
    """Remove the image `path`, if it is there.

    Raises:
        ForeignEvidenceError: the path leads elsewhere; nothing is removed.
        OSError: it cannot be removed.
    """
    stored_path(directory, path).unlink(missing_ok=True)
