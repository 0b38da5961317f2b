# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one way to write a file that a user named.

A regular file, or one that is not there yet, is written beside its place and renamed into it when it is whole; a
symbolic link stays, and its target is written. Device nodes, FIFOs, sockets and this process's own descriptors
(`/dev/stdout`, `/dev/fd/3`) are written through. `-` is standard output. The folder that a file goes to has to
be there; an output that is a folder is made.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vision_line.errors import ConfigError, RunError

#: What stands for the standard output, as in most commands.
STANDARD_OUTPUT = Path("-")
#: How long a FIFO that nobody reads is waited for.
READER_WAIT_S = 10.0

#: A rename cannot replace a file that is a mount point, as single files given to a container are.
_NO_RENAME = frozenset({errno.EBUSY, errno.EXDEV})
_MOST_LINKS = 40  # as the kernel


def _open_descriptors() -> frozenset[int]:
    """Return the numbers of this process's open descriptors, none where the system does not tell."""
    with suppress(OSError):
        # The descriptor of the listing itself is closed by the time it is looked at.
        return frozenset(
            number for number in (int(entry.name) for entry in Path("/proc/self/fd").iterdir()) if _is_open(number)
        )
    return frozenset({0, 1, 2})


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


#: What was given to the program. Numbers that it opened itself (a database!) are no outputs.
_GIVEN = _open_descriptors()


@dataclass(frozen=True, slots=True)
class Place:
    """Where an output goes: one of our own `descriptor`s, or the file `target` that all links lead to.

    `replaced` says that the whole file takes the target's place; else it is written through.
    """

    target: Path
    descriptor: int | None = None
    replaced: bool = False

    @property
    def is_standard_output(self) -> bool:
        """Whether it ends where `print` writes."""
        return self.descriptor == 1


def place_of(path: Path) -> Place:
    """Return where what is written to `path` goes.

    Raises:
        OSError: it is a folder, a loop of links, or cannot be looked at.
    """
    if path == STANDARD_OUTPUT:
        return Place(path, 1)
    if (number := _own_descriptor(path)) is not None:
        return Place(path, number)
    target = Path(os.path.realpath(path))  # of a loop of links `stat` says what it is; `resolve` has no OSError for it
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return Place(target, replaced=True)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    return Place(target, replaced=stat.S_ISREG(mode))


def output_problem(path: Path) -> str:
    """Return why the output `path` cannot be written, "" when it can; nothing is left behind.

    What must not be opened only to look (a FIFO, a device) is believed in.
    """
    try:
        place = place_of(path)
        if place.descriptor is not None:
            os.fstat(place.descriptor)
        elif place.replaced and (made := _new_beside(place.target)) is not None:
            os.close(made[0])
            made[1].unlink()
    except IsADirectoryError:
        return f"{path}: is a folder"
    except OSError as exc:
        return f"{path}: cannot be written: {_reason(path, exc)}"
    return ""


@contextmanager
def open_output(path: Path, named: str = "") -> Iterator[BinaryIO]:
    """Yield a binary file for the output `path`; it is complete when the block ends without an error.

    A block that fails leaves the file that was there, save where that is written through. `named` goes before the
    path in messages: the option that it was given by. What the block itself raises as OSError counts as this output's.

    Raises:
        ConfigError: `path` is a folder.
        RunError: it cannot be written; of several errors the first.
        BrokenPipeError: it is the standard output, and its reader went away.
    """
    with said_of(path, named):
        place = place_of(path)
        if place.replaced:
            with _replacing(place.target) as file:
                yield file
        else:
            with _opened_through(place) as file:
                yield file


def write_output(path: Path, text: str, named: str = "") -> None:
    """Write `text` as UTF-8 to the output `path`.

    Raises:
        As `open_output`.
    """
    with open_output(path, named) as file:
        file.write(text.encode())


@contextmanager
def said_of(path: Path, named: str = "") -> Iterator[None]:
    """Turn what the system refuses while the output `path` is written into one sentence.

    Raises:
        As `open_output`.
    """
    what = f"{named} {path}".strip()
    try:
        yield
    except IsADirectoryError as exc:
        raise ConfigError(f"{what}: is a folder") from exc
    except BrokenPipeError as exc:
        if place_of(path).is_standard_output:
            raise
        raise RunError(f"{what}: cannot be written: its reader went away") from exc
    except OSError as exc:
        raise RunError(f"{what}: cannot be written: {_reason(path, exc)}") from exc


def _reason(path: Path, exc: OSError) -> str:
    """Say why the output `path` cannot be written. Its folder is not made: a mistyped one would be, unseen."""
    folder = Path(os.path.realpath(path)).parent
    if exc.errno == errno.ENOENT and not folder.exists():
        return f"there is no folder {folder}"
    return exc.strerror or str(exc)


def _own_descriptor(path: Path) -> int | None:
    """Return the number of the descriptor that was given to us and that `path` names, by whatever links."""
    own = os.path.realpath("/proc/self/fd")
    name = os.fspath(path)
    for _ in range(_MOST_LINKS):
        folder, last = os.path.split(name)
        if last.isdecimal() and os.path.realpath(folder) == own:
            number = int(last)
            if number not in _GIVEN:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(path))
            return number
        if not os.path.islink(name):  # noqa: PTH114  Path would lose what a link says of `.` and `..`
            return None
        name = os.path.join(folder, os.readlink(name))  # noqa: PTH115, PTH118  the same
    return None


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    """Yield a new file beside `target` that takes its place, with its permissions, when the block ends well."""
    made = _new_beside(target)
    if made is None:  # the folder takes no new file, but this one may be ours to write
        with target.open("wb") as file:
            yield file
        return
    descriptor, partial = made
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            _take_permissions(descriptor, target)
            os.fsync(descriptor)
        _rename(partial, target)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report, and this one follows from it
            partial.unlink(missing_ok=True)
        raise


def _new_beside(target: Path) -> tuple[int, Path] | None:
    """Open a new file beside `target`; None where that cannot be, but `target` itself is there to be written.

    Raises:
        OSError: neither.
    """
    partial = target.with_name(f".vision-line-{secrets.token_hex(6)}.partial")
    try:
        return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666), partial
    except OSError:
        if os.access(target, os.W_OK):
            return None
        raise


def _take_permissions(descriptor: int, target: Path) -> None:
    with suppress(FileNotFoundError, PermissionError):  # nothing there yet, or no right to give it to its owner
        before = target.stat()
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        os.fchown(descriptor, before.st_uid, before.st_gid)


def _rename(partial: Path, target: Path) -> None:
    try:
        partial.replace(target)
    except OSError as exc:
        if exc.errno not in _NO_RENAME:
            raise
        shutil.copyfile(partial, target)
        partial.unlink()


@contextmanager
def _opened_through(place: Place) -> Iterator[BinaryIO]:
    """Yield a file that writes into what is there: a descriptor of ours, a device, a FIFO or a socket."""
    if place.descriptor is not None:
        sys.stdout.flush()  # what was said before comes before
        descriptor = os.dup(place.descriptor)
    else:
        descriptor = _open_special(place.target)
    with os.fdopen(descriptor, "wb") as file:
        yield file


def _open_special(target: Path) -> int:
    mode = target.stat().st_mode
    if stat.S_ISSOCK(mode):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(target))
            return connection.detach()
    if not stat.S_ISFIFO(mode):
        return os.open(target, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    descriptor = _open_fifo(target)
    os.set_blocking(descriptor, True)
    return descriptor


def _open_fifo(target: Path) -> int:
    deadline_s = time.monotonic() + READER_WAIT_S
    while True:
        try:
            return os.open(target, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as exc:
            if exc.errno != errno.ENXIO:
                raise
            if time.monotonic() > deadline_s:
                raise OSError(errno.ENXIO, f"nobody read it within {READER_WAIT_S:g} s") from exc
        time.sleep(0.02)
