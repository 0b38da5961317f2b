# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which files a SQLite database is in, so that who keeps a connection finds out when others took their place.

A connection stays with the files that it opened. A backup that is copied over a database may keep its inode, while its
write-ahead log is removed and made anew: the connection then reads, or writes, a log that nobody else sees, for ever
and without an error.
"""

from __future__ import annotations

import os
from pathlib import Path

from vision_line.errors import RunError

Inode = tuple[int, int]
#: Device and inode of the database, of its write-ahead log and of the log's index; None: it has none.
DatabaseFiles = tuple[Inode, Inode | None, Inode | None]


def database_files(path: Path) -> DatabaseFiles | None:
    """Return which files the database is in now, None: there is none. Some microseconds.

    Raises:
        RunError: nobody can tell.
    """
    own = _inode(path)
    if own is None:
        return None
    return own, _inode(f"{path}-wal"), _inode(f"{path}-shm")


def opened_files(path: Path, before: DatabaseFiles | None) -> DatabaseFiles | None:
    """Return which files a connection has that was made since `before` and has read: that opens the log.

    From then on SQLite removes none of them, and no other file is given their inodes: whatever differs later, somebody
    else did, and the connection has to be made anew. None: somebody was at it just now.

    Raises:
        RunError: nobody can tell.
    """
    now = database_files(path)
    if before is None or now is None:
        return None
    return now if all(was in (None, one) for was, one in zip(before, now, strict=True)) else None


def _inode(path: Path | str) -> Inode | None:
    try:
        status = os.stat(path)  # noqa: PTH116  making a `Path` of each name takes longer than looking
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise RunError(f"{path}: cannot be read: {exc.strerror}") from exc
    return status.st_dev, status.st_ino
