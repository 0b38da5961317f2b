# SPDX-License-Identifier: AGPL-3.0-or-later
"""The record directory: one run at a time owns it, files in it are durable before anything names them.

A row may name a file anywhere: the record file may be somebody else's. Only what lies below the folder of its kind
(`evidence`, `clips`, `review`), links followed, is read or removed; what is read has the hash that its row says.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from vision_line.errors import RunError

LOCK_NAME = "lock"
#: What is being written: on the same file system, so that it gets its name at once.
PARTIAL_NAME = ".partial"
#: Who only checks whether a directory is in use has its lock for much less, in seconds.
_CHECK_S = 0.1


class DirectoryLock:
    """Owns a record directory for this process until `close`; the kernel lets go of it when the process dies."""

    def __init__(
        self,
        directory: Path,
        *,
        name: str = LOCK_NAME,
        held_by: str = "another run",
        advice: str = "choose another with --record",
    ) -> None:
        """Make `directory` where needed and take its lock, the file `name`; who has it is told with `advice`.

        Raises:
            RunError: another run has it, or the directory cannot be written.
        """
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file: int | None = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise RunError(f"record directory {directory}: cannot be written: {exc.strerror}") from exc
        try:
            _take(self._file)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
        except OSError as exc:
            owner = os.pread(self._file, 20, 0).decode(errors="replace").strip()
            self.close()
            if isinstance(exc, BlockingIOError):
                raise RunError(
                    f"record directory {directory}: in use by {held_by} (process {owner}); {advice}"
                ) from exc
            raise RunError(f"record directory {directory}: cannot be locked: {exc.strerror}") from exc

    def close(self) -> None:
        """Let go of the directory; idempotent."""
        if self._file is not None:
            os.close(self._file)  # the lock goes with it; the file stays, or a third run could lock its successor
            self._file = None


def is_in_use(directory: Path) -> bool:
    """Whether a run, or a command that must be alone like one, owns the record directory now.

    Raises:
        RunError: that cannot be found out.
    """
    try:
        file = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise RunError(f"record directory {directory}: cannot be read: {exc.strerror}") from exc
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as exc:
        raise RunError(f"record directory {directory}: cannot be locked: {exc.strerror}") from exc
    finally:
        os.close(file)
    return False


def _take(file: int) -> None:
    """Lock a file; once more after a moment, since somebody may only have checked (`is_in_use`).

    Raises:
        BlockingIOError: another process has it.
        OSError: it cannot be locked.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(_CHECK_S)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


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


def write_stored(directory: Path, folder: str, files: Mapping[str, bytes]) -> None:
    """Write the files of one row durably, in their order, all into one folder below `folder`.

    Raises:
        OSError: the disk is full, read-only or broken.
    """
    root = directory / folder
    into = (directory / next(iter(files))).parent
    root.mkdir(exist_ok=True)
    ensure_directory(into, root)
    for path, data in files.items():
        write_durably(directory / path, data, root / PARTIAL_NAME)
    sync_directory(into)


def keep_partial(partial: Path, path: Path) -> None:
    """Put what was written into `partial` on the disk, then give it its name, durably.

    Raises:
        OSError: the disk is full, read-only or broken.
    """
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    sync_directory(path.parent)


class ForeignFileError(RunError):
    """A row's file is not the one that was written: another content, or a path that leads elsewhere."""


def stored_path(directory: Path, path: str, folder: str) -> Path:
    """Return where the file `path` of a row lies below `directory`; it need not be there.

    Raises:
        ForeignFileError: the path leads out of `folder`, as it is written or by links.
    """
    relative = Path(path)
    if "\0" in path or relative.is_absolute() or relative.parts[:1] != (folder,) or ".." in relative.parts:
        raise ForeignFileError(f"{path!r}: leads out of the {folder} folder")
    root = directory.resolve() / folder
    place = root.parent / relative
    if not place.resolve().is_relative_to(root):
        raise ForeignFileError(f"{path!r}: leads out of the {folder} folder by a link")
    return place


def open_stored(directory: Path, path: str, folder: str) -> int:
    """Return a file descriptor, to read, of the file `path`: no part of the path below `directory` is a link.

    Raises:
        FileNotFoundError: it is gone.
        ForeignFileError: the path leads out of `folder` or over a link, or it is no file.
        OSError: it cannot be read.
    """
    relative = stored_path(directory, path, folder).relative_to(directory.resolve())
    at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in relative.parts[:-1]:
            at, above = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at), at
            os.close(above)
        file = os.open(relative.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise ForeignFileError(f"{path!r}: leads over a link") from exc
        raise
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise ForeignFileError(f"{path!r}: is no file")
    return file


def read_stored(directory: Path, path: str, sha256: str | None, folder: str) -> bytes:
    """Return the content of the file `path`.

    Raises:
        FileNotFoundError: it is gone.
        ForeignFileError: it is not what was written.
        OSError: it cannot be read.
    """
    place = _regular(directory, path, folder)
    data = place.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ForeignFileError(f"{path!r}: is not what was recorded: its SHA-256 differs")
    return data


def check_stored(directory: Path, path: str, sha256: str, folder: str) -> None:
    """Check the content of the file `path`, which may be large.

    Raises:
        FileNotFoundError: it is gone.
        ForeignFileError: it is not what was written.
        OSError: it cannot be read.
    """
    if file_sha256(_regular(directory, path, folder)) != sha256:
        raise ForeignFileError(f"{path!r}: is not what was recorded: its SHA-256 differs")


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _regular(directory: Path, path: str, folder: str) -> Path:
    place = stored_path(directory, path, folder)
    if not stat.S_ISREG(place.stat().st_mode):
        raise ForeignFileError(f"{path!r}: is no file")
    return place


def remove_stored(directory: Path, path: str, folder: str) -> None:
    """Remove the file `path`, if it is there.

    Raises:
        ForeignFileError: the path leads elsewhere; nothing is removed.
        OSError: it cannot be removed.
    """
    stored_path(directory, path, folder).unlink(missing_ok=True)
