# SPDX-License-Identifier: AGPL-3.0-or-later
"""Removing old records by hand, from a record directory that no run uses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from math import inf
from pathlib import Path

from vision_line.errors import ConfigError, RunError
from vision_line.records.corrected_time import Timeline, read_timeline
from vision_line.records.directory import DirectoryLock, remove_stored
from vision_line.records.evidence_files import DeletedWhy, EvidenceFile, kept_evidence
from vision_line.records.retention import DAY_S, SHELVES, Removed, Why, remove_batch, used_bytes
from vision_line.records.schema import FILE_NAME, open_writer, transaction, translated

#: What `remove_batch` gets: timeline, cutoff (UTC), bound (bytes), now (UTC).
_Asked = tuple[Timeline, float, int, float]
_Numbered = tuple[int, EvidenceFile]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be: rows by table, events' images, and the bytes of the record file in use."""

    removed: tuple[Removed, ...]
    images: int
    bytes_before: int
    bytes_after: int


def prune(directory: Path, keep_days: int, max_mb: int, now_utc: float, *, dry_run: bool) -> Pruned:
    """Remove from `directory` what is older than `keep_days`, then the oldest down to `max_mb`; 0: without bound.

    The file is made as small as what it holds. A `dry_run` does the same in a transaction that is taken back, and
    touches no image.

    Raises:
        ConfigError: no records there.
        RunError: a run uses it, or it cannot be read or written.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise ConfigError(f"--record {directory}: expected a record directory, found no {FILE_NAME} in it")
    lock = DirectoryLock(directory)
    try:
        with translated(path, "pruning"), closing(open_writer(path)) as connection:
            before = used_bytes(connection)
            cutoff_utc = now_utc - keep_days * DAY_S if keep_days else -inf
            timeline = read_timeline(connection, now_utc)
            old = [numbered for numbered in kept_evidence(connection) if numbered[1].true_utc(timeline) < cutoff_utc]
            asked = (timeline, cutoff_utc, max_mb * 1_000_000, now_utc)
            if dry_run:
                return _tried(connection, before, old, *asked)
            _remove_images(connection, directory, old, now_utc)
            removed = tuple(_removed(connection, *asked))
            _shrink(connection)
            return Pruned(_by_table(removed), len(old), before, used_bytes(connection))
    finally:
        lock.close()


def _removed(connection: sqlite3.Connection, *asked: *_Asked) -> Iterator[Removed]:
    """Remove batch after batch, each durable by itself."""
    while True:
        with transaction(connection):
            batch = remove_batch(connection, *asked, shelves=SHELVES, why=Why.PRUNE)
        if batch is None:
            return
        yield batch


def _tried(connection: sqlite3.Connection, before: int, old: list[_Numbered], *asked: *_Asked) -> Pruned:
    with transaction(connection, keep=False):
        _mark_deleted(connection, old, asked[-1])
        batches = []
        while batch := remove_batch(connection, *asked, shelves=SHELVES, why=Why.PRUNE):
            batches.append(batch)
        return Pruned(_by_table(batches), len(old), before, used_bytes(connection))


def _remove_images(connection: sqlite3.Connection, directory: Path, old: list[_Numbered], now_utc: float) -> None:
    """Remove the files first: a row that names an image which is gone is found at the next start, a file is not.

    What was removed is marked also where it ends early: else those images would be lost, and nothing explain it.

    Raises:
        RunError: an image cannot be removed, or its path leads elsewhere.
    """
    gone: list[_Numbered] = []
    try:
        for numbered in old:
            first, *others = numbered[1].paths
            remove_stored(directory, first)
            gone.append(numbered)
            for path in others:
                remove_stored(directory, path)
    except OSError as exc:
        raise RunError(f"{exc.filename}: cannot be removed: {exc.strerror}") from exc
    finally:
        with transaction(connection):
            _mark_deleted(connection, gone, now_utc)


def _mark_deleted(connection: sqlite3.Connection, old: list[_Numbered], now_utc: float) -> None:
    sql = "UPDATE evidence SET deleted_utc = ?, deleted_why = ? WHERE evidence = ?"
    connection.executemany(sql, [(now_utc, DeletedWhy.PRUNE, number) for number, _ in old])


def _by_table(batches: tuple[Removed, ...] | list[Removed]) -> tuple[Removed, ...]:
    totals: dict[str, Removed] = {}
    for batch in batches:
        total = totals.get(batch.table, batch)
        rows = batch.rows + (total.rows if total is not batch else 0)
        span = (min(total.from_utc, batch.from_utc), max(total.to_utc, batch.to_utc))
        totals[batch.table] = Removed(batch.table, rows, *span, batch.why)
    return tuple(totals.values())


def _shrink(connection: sqlite3.Connection) -> None:
    """Give the free pages back to the disk; that needs as much room as the file takes afterwards.

    Raises:
        RunError: there is not enough room; the rows are gone, and their pages will be used again.
    """
    try:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError as exc:
        raise RunError(f"the rows are removed, but the file could not be made smaller: {exc}") from exc
