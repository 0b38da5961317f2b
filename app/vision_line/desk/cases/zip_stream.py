# SPDX-License-Identifier: AGPL-3.0-or-later
"""A ZIP archive that is sent while it is made: nothing of it is held longer than until it is taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BufferedReader
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from vision_line.errors import RunError

#: Bytes that are read at once.
CHUNK = 1 << 18
#: The first and the last moment that ZIP knows, 1980 and 2107, in seconds since the epoch.
_FIRST_UTC, _LAST_UTC = 315_532_800.0, 4_354_819_198.0


class _Outbox:
    """What the archive writes, until it is taken. It cannot be sought, as what is sent cannot."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: it is taken."""

    def close(self) -> None:
        """Do nothing."""

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


class ZipStream:
    """Adds members one after the other, and yields the archive's bytes; `sums` has the SHA-256 of each so far.

    Images and video are stored as they are: they hardly get smaller. Who iterates to the end gets the whole member.
    """

    def __init__(self) -> None:
        self._out = _Outbox()
        self._zip = ZipFile(self._out, "w")
        self.sums: list[tuple[str, str]] = []

    def text(self, path: str, text: str | bytes, at_utc: float) -> Iterator[bytes]:
        """Add a text, encoded as UTF-8 where it is not bytes."""
        data = text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
        self._zip.writestr(_member(path, at_utc, ZIP_DEFLATED), data)
        self.sums.append((path, hashlib.sha256(data).hexdigest()))
        yield self._out.take()

    def file(self, path: str, file: BufferedReader, size: int, sha256: str, at_utc: float) -> Iterator[bytes]:
        """Add an open file from its beginning on, which has this size and SHA-256.

        Raises:
            RunError: it was changed meanwhile.
            OSError: it cannot be read.
        """
        member, digest = _member(path, at_utc, ZIP_STORED), hashlib.sha256()
        member.file_size = size
        with self._zip.open(member, "w") as into:
            while data := file.read(CHUNK):
                digest.update(data)
                into.write(data)
                yield self._out.take()
        if digest.hexdigest() != sha256:
            raise RunError(f"{path} was changed while it was copied: the archive is not whole")
        self.sums.append((path, sha256))
        yield self._out.take()

    def end(self) -> Iterator[bytes]:
        """Add what ends an archive."""
        self._zip.close()
        yield self._out.take()


def _member(path: str, at_utc: float, method: int) -> ZipInfo:
    """Return a member's head; ZIP has no zone, so that its time is UTC."""
    at = datetime.fromtimestamp(min(max(at_utc, _FIRST_UTC), _LAST_UTC), UTC)
    member = ZipInfo(path, (at.year, at.month, at.day, at.hour, at.minute, at.second))
    member.compress_type, member.create_system, member.external_attr = method, 3, 0o100644 << 16
    return member
