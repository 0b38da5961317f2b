# SPDX-License-Identifier: AGPL-3.0-or-later
"""The record directory: one run at a time owns it, files in it are durable before anything names them.

A row may name an image anywhere: the record file may be somebody else's. Only what lies below the directory's
`evidence` folder, links followed, is read or removed; what is read has the hash that its row says.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from pathlib import Path

from vision_line.errors import RunError

LOCK_NAME = "lock"

FOLDER = "evidence"


class DirectoryLock:
    """Owns a record directory for this process until `close`; the kernel lets go of it when the process dies."""

    def __init__(self, directory: Path) -> None:
        """Make `directory` where needed and take its lock.

        Raises:
            RunError: another run has it, or the directory cannot be written.
        """
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file: int | None = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise RunError(f"record directory {directory}: cannot be written: {exc.strerror}") from exc
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
        except OSError as exc:
            owner = os.pread(self._file, 20, 0).decode(errors="replace").strip()
            self.close()
            if isinstance(exc, BlockingIOError):
                raise RunError(
                    f"record directory {directory}: in use by another run (process {owner}); "
                    "choose another with --record"
                ) from exc
            raise RunError(f"record directory {directory}: cannot be locked: {exc.strerror}") from exc

    def close(self) -> None:
        """Let go of the directory; idempotent."""
        if self._file is not None:
            os.close(self._file)  # the lock goes with it; the file stays, or a third run could lock its successor
            self._file = None


def free_mb(directory: Path) -> float:
    """Return the free space of the file system that holds `directory`, in megabytes (10^6 bytes).

    Raises:
        OSError: the directory is gone.
    """
    return shutil.disk_usage(directory).free / 1e6


def write_durably(path: Path, data: bytes, partial: Path) -> None:
    """Write `path` so that it is either absent or whole, by way of `partial` on the same file system.

    The content is on the disk when this returns; its name is after `sync_directory` on the parent, which the caller
    does once for all files it wrote there.

    Raises:
        OSError: the disk is full, read-only or broken.
    """
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def ensure_directory(directory: Path, root: Path) -> None:
    """Make `directory` below `root`, each new level's entry synced into the level above.

    Raises:
        OSError: it cannot be made.
    """
    if directory == root or directory.is_dir():
        return
    ensure_directory(directory.parent, root)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Put the directory's entries (files made, renamed, removed) on the disk.

    Raises:
        OSError: the disk is broken.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
