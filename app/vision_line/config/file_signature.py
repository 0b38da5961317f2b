# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a file has changed, for a stat of some microseconds; works on every file system."""

from __future__ import annotations

from pathlib import Path

Signature = tuple[int, int, int]


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
