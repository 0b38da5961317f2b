# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a file has changed, for a stat of some microseconds; works on every file system."""

from __future__ import annotations

import time
from pathlib import Path

Signature = tuple[int, int, int]

#: File systems note the time of change in steps of some milliseconds, on a network of up to a second or two.
_LASTS_AFTER_NS = 2_000_000_000
#: A file that is otherwise at each of so many looks is being rewritten all the time, not just now.
MOST_CHECKS = 10


def file_signature(path: Path) -> Signature | None:
    """Tell one state of the file from another: inode (editors replace files), size and time of change.

    None: it is gone for the moment, as editors write so; a lasting absence is reported by reading it. Take it before
    the file is read: one that is taken behind that may be of a later text, which would then never be read.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def lasting_signature(path: Path) -> Signature | None:
    """Return the same for who reads only a changed file, and for ever goes by what it read.

    None also where it was changed just now: it may change again within the step of its time, with the same size.
    """
    now_ns, found = time.time_ns(), file_signature(path)
    return found if found is not None and found[2] < now_ns - _LASTS_AFTER_NS else None


class SettledChange:
    """Says when a file is to be read again: it is otherwise than it was read, and so it was at the look before.

    Editors and scripts write in place: half of a file may be valid, and lack the cameras of the other half.
    """

    def __init__(self, path: Path, read: Signature | None) -> None:
        """`read` is the signature of what was read of it."""
        self._path = path
        self._read = self._seen = read
        self._unsettled = 0  # looks that found it otherwise than the look before

    def is_due(self, *, asked: bool) -> bool:
        """Look at it; whether to read it now, at once where somebody `asked`. Then it counts as read.

        One that never stands still is read all the same, after `MOST_CHECKS`.
        """
        found = file_signature(self._path)
        is_settled, self._seen = found == self._seen, found
        self._unsettled = 0 if is_settled else self._unsettled + 1
        if not asked and (found == self._read or 0 < self._unsettled < MOST_CHECKS):
            return False
        self._read, self._unsettled = found, 0
        return True
