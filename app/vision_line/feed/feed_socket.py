# SPDX-License-Identifier: AGPL-3.0-or-later
"""A socket's file in the record directory: who may connect, what a killed process left, paths of any length."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vision_line.feed.protocol import SOCKET_NAME

#: The user who runs the line, and the group of the directory's users.
MODE = 0o660
#: The longest path that the kernel takes for a socket, in bytes: one less than `sun_path` has.
LONGEST_PATH = 107
#: Who connects while the feed's thread is busy waits here.
BACKLOG = 128


@contextmanager
def socket_address(directory: Path, name: str = SOCKET_NAME) -> Iterator[str]:
    """Give a socket's address in `directory`; one that is too long for the kernel goes by way of a descriptor.

    Raises:
        OSError: `directory` cannot be opened.
    """
    path = directory / name
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{name}"
    finally:
        os.close(folder)


class FeedSocket:
    """Listens from when it is made until `close`, which removes the file.

    Who makes it holds a lock in the directory, so that nobody else has the same name.
    """

    def __init__(self, directory: Path, name: str = SOCKET_NAME) -> None:
        """Take the place of what a killed process left, and listen.

        Raises:
            OSError: the directory's file system takes no sockets, or a file that is none has the name.
        """
        self._path = directory / name
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            _remove_stale(self._path)
            # A socket's own mode limits that of the file which `bind` makes: at no moment may more users connect.
            # The process's umask may have taken the group's part of it, and is not touched: other threads make files.
            os.fchmod(self.listener.fileno(), MODE)
            with socket_address(directory, name) as address:
                self.listener.bind(address)
        except BaseException:
            self.listener.close()
            raise
        self._file = self._path.lstat().st_ino
        try:
            self._path.chmod(MODE)
            self.listener.listen(BACKLOG)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Listen no more; the file goes unless another has its place. May be called twice."""
        self.listener.close()
        with suppress(FileNotFoundError):
            if self._path.lstat().st_ino == self._file:
                self._path.unlink()


def _remove_stale(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(17, "a file that is no socket has its name", str(path))
        path.unlink()
