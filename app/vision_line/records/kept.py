# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pictures that are kept, oldest first: a short window of them in memory, all others in the record file alone."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from vision_line.records.schema import FILE_NAME, open_reader, transaction, translated

FOLDER = "evidence"
#: So many pictures are known in memory at most, and so many rows are read at once.
WINDOW = 256

# By number and not by time: a clock that is set back must not hide pictures from their removal.
_KEPT = """SELECT evidence, run, event_id, path, overlay_path, bytes FROM evidence
    WHERE evidence > {after} AND path IS NOT NULL AND deleted_utc IS NULL ORDER BY evidence LIMIT ?"""
_KEPT_AFTER_NUMBER = _KEPT.format(after="?")
#: Nothing where that picture's own row is not committed yet: what follows it is not known then.
_KEPT_AFTER_PICTURE = _KEPT.format(after="(SELECT evidence FROM evidence WHERE run = ? AND event_id = ?)")


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """An event's pictures on the disk; paths are relative to the record directory."""

    run: int
    event_id: str
    paths: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Stock:
    """How many events' pictures are kept, and their size in bytes."""

    pictures: int = 0
    size: int = 0


class KeptPictures:
    """Every picture of a record directory in the order of their rows; its memory does not grow with their number.

    As long as all pictures fit into the window they are known here alone. Beyond that new ones are only counted, and
    the window is filled again from the record file when it is used up. Used by one thread, save for `size`.
    """

    def __init__(self, directory: Path, stock: Stock) -> None:
        """Begin with the `stock` that `reconcile` found in `directory`."""
        self._directory = directory
        self._pictures = stock.pictures
        self._size = stock.size
        self._window: deque[KeptPicture] = deque()
        self._removed: KeptPicture | None = None  # the last one: the window goes on after it

    @property
    def size(self) -> int:
        """Disk space that the pictures take, bytes; from any thread."""
        return self._size

    @property
    def known(self) -> int:
        """How many pictures are known in memory now, at most `WINDOW`."""
        return len(self._window)

    def add(self, picture: KeptPicture) -> None:
        """Take account of a picture that was written."""
        if len(self._window) == self._pictures < WINDOW:
            self._window.append(picture)
        self._pictures += 1
        self._size += picture.size

    def oldest(self) -> KeptPicture | None:
        """Return the oldest picture; None if there is none, or its row has not been committed yet.

        Raises:
            RunError: the record file cannot be read.
        """
        if not self._window and self._pictures:
            self._window.extend(_kept_after(self._directory, self._removed))
        return self._window[0] if self._window else None

    def forget_oldest(self) -> None:
        """Take account of the removal of the picture that `oldest` returned."""
        self._removed = self._window.popleft()
        self._pictures -= 1
        self._size -= self._removed.size


def evidence_paths(run: int, camera: str, event_id: str, first_seen_utc: float) -> tuple[str, str]:
    """Return the clean and the overlay picture's paths, relative to the record directory. Pure."""
    day = datetime.fromtimestamp(first_seen_utc, UTC).strftime("%Y-%m-%d")
    stem = f"{FOLDER}/{day}/{quote(camera, safe='')}/{run}-{quote(event_id, safe='')}"
    return f"{stem}.jpg", f"{stem}.overlay.jpg"


def reconcile(connection: sqlite3.Connection, directory: Path, now_utc: float) -> Stock:
    """Make rows and pictures agree after a run that was killed; return what is kept.

    A picture that was durable when its row was not gets its row; an event without a picture gets a row that says so;
    a row whose picture is gone is marked deleted.

    Raises:
        sqlite3.Error, OSError: the record directory cannot be read or written.
    """
    with transaction(connection):
        _adopt(connection, directory, now_utc)
        return _forget_removed(connection, directory, now_utc)


def _adopt(connection: sqlite3.Connection, directory: Path, now_utc: float) -> None:
    unknown = connection.execute(
        "SELECT run, camera, event_id, first_seen_utc FROM events JOIN runs USING (run) WHERE runs.evidence = 1"
        " AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.run = events.run AND e.event_id = events.event_id)"
        " ORDER BY event"
    ).fetchall()
    for run, camera, event_id, first_seen_utc in unknown:
        connection.execute(
            "INSERT INTO evidence (run, event_id, path, overlay_path, sha256, bytes, created_utc, missing)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (run, event_id, *_found(directory, evidence_paths(run, camera, event_id, first_seen_utc), now_utc)),
        )


def _found(directory: Path, paths: tuple[str, str], now_utc: float) -> tuple[object, ...]:
    """Return path ... missing of the evidence row for pictures that were, or were not, written before a kill."""
    clean, overlay = (directory / path for path in paths)
    if not (clean.is_file() and overlay.is_file()):
        return (None, None, None, 0, now_utc, "the program ended before the picture was written")
    data = clean.read_bytes()
    size = len(data) + overlay.stat().st_size
    return (*paths, hashlib.sha256(data).hexdigest(), size, clean.stat().st_mtime, None)


def _forget_removed(connection: sqlite3.Connection, directory: Path, now_utc: float) -> Stock:
    pictures = size = 0
    for row in _kept_rows(connection):
        number, _, _, path, _, row_size = row
        if (directory / path).is_file():
            pictures, size = pictures + 1, size + row_size
        else:
            connection.execute("UPDATE evidence SET deleted_utc = ? WHERE evidence = ?", (now_utc, number))
    return Stock(pictures, size)


def _kept_rows(connection: sqlite3.Connection) -> Iterator[tuple[int, int, str, str, str, int]]:
    number = 0
    while rows := connection.execute(_KEPT_AFTER_NUMBER, (number, WINDOW)).fetchall():
        yield from rows
        number = rows[-1][0]


def _kept_after(directory: Path, last: KeptPicture | None) -> list[KeptPicture]:
    """Return the oldest pictures after `last`, as far as their rows are committed.

    Raises:
        RunError: the record file cannot be read.
    """
    sql, parameters = (_KEPT_AFTER_NUMBER, (0,)) if last is None else (_KEPT_AFTER_PICTURE, (last.run, last.event_id))
    with closing(open_reader(directory)) as connection, translated(directory / FILE_NAME, "reading"):
        rows = connection.execute(sql, (*parameters, WINDOW)).fetchall()
    return [
        KeptPicture(run, event_id, (path, overlay_path), size) for _, run, event_id, path, overlay_path, size in rows
    ]
