# SPDX-License-Identifier: AGPL-3.0-or-later
"""Removing old records by hand, from a record directory that no run uses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

from vision_line.errors import ConfigError, RunError
from vision_line.records.corrected_time import Timeline, read_timeline
from vision_line.records.directory import DirectoryLock, remove_stored, stored_path
from vision_line.records.file_tables import EVIDENCE, FILE_TABLES, DeletedWhy, FileTable
from vision_line.records.reconciliation import finish_removal
from vision_line.records.retention import BATCH_ROWS, DAY_S, SHELVES, Removed, Why, remove_batch, used_bytes
from vision_line.records.schema import FILE_NAME, RecordConnection, no_records, open_writer, transaction, translated
from vision_line.records.seal import Sealer, load_signing_key, sealed_end
from vision_line.records.stored_files import StoredFile, kept_files

#: What `remove_batch` gets: timeline, cutoff (UTC), bound (bytes), now (UTC).
_Asked = tuple[Timeline, float, int, float]
_Numbered = tuple[FileTable, int, StoredFile]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, or would be: rows by table, events' images, other files, and bytes of the file in use."""

    removed: tuple[Removed, ...]
    images: int
    files: int
    bytes_before: int
    bytes_after: int


def prune(
    directory: Path, keep_days: int, max_mb: int, now_utc: float, *, dry_run: bool, signing_key: Path | None = None
) -> Pruned:
    """Remove from `directory` what is older than `keep_days`, then the oldest down to `max_mb`; 0: without bound.

    The file is made as small as what it holds. Every commit ends with a seal, signed by `signing_key`. A `dry_run` does
    the same in a transaction that is taken back, and touches no file.

    Raises:
        ConfigError: no records there, or the journal is signed and this is not the key.
        RunError: a run uses it, or it cannot be read or written.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise ConfigError(no_records(directory, "--record"))
    lock = DirectoryLock(
        directory, held_by="a run", advice="end it first; it removes by itself with keep_days and max_mb"
    )
    try:
        with translated(path, "pruning"), closing(open_writer(path)) as connection:
            sealer = None if dry_run else _sealer(connection, signing_key)
            before = used_bytes(connection)
            cutoff_utc = now_utc - keep_days * DAY_S if keep_days else -inf
            timeline = read_timeline(connection, now_utc)
            old = list(_old_files(connection, timeline, cutoff_utc))
            asked = (timeline, cutoff_utc, max_mb * 1_000_000, now_utc)
            if sealer is None:
                return _tried(connection, before, old, *asked)
            if problem := next(finish_removal(connection, directory), None):
                raise RunError(problem)
            for start in range(0, len(old), BATCH_ROWS):
                _remove_files(connection, sealer, directory, old[start : start + BATCH_ROWS], now_utc)
            removed = tuple(_removed(connection, sealer, *asked))
            _shrink(connection)
            return _pruned(connection, removed, old, before)
    finally:
        lock.close()


def _pruned(
    connection: sqlite3.Connection, removed: Sequence[Removed], old: Sequence[_Numbered], before: int
) -> Pruned:
    images = sum(table is EVIDENCE for table, _, _ in old)
    return Pruned(_by_table(removed), images, len(old) - images, before, used_bytes(connection))


def _old_files(connection: sqlite3.Connection, timeline: Timeline, cutoff_utc: float) -> Iterator[_Numbered]:
    """Return the files of all tables that are from before `cutoff_utc`."""
    for table in FILE_TABLES.values():
        for number, stored in kept_files(connection, table):
            if stored.true_utc(timeline) < cutoff_utc:
                yield table, number, stored


def _sealer(connection: sqlite3.Connection, signing_key: Path | None) -> Sealer:
    """Return what seals the end that is made here, as the run before sealed its own.

    Raises:
        ConfigError: the journal is signed by a key that is not the one given.
        RunError: somebody else wrote its end, which must not be signed.
    """
    sealer = Sealer(None if signing_key is None else load_signing_key(signing_key))
    end = sealed_end(connection)
    if end.signer is None:
        return sealer
    if sealer.public_key != end.signer:
        found = "none was given" if signing_key is None else f"{signing_key} is another one"
        raise ConfigError(
            f"--signing-key: the journal's last seal is signed, its public key is {end.signer}, and {found};"
            " an end without its signature is what a forger would leave"
        )
    if end.is_open:
        raise RunError(
            "entries are behind the journal's last seal though every run has ended: they are not signed here"
        )
    return sealer


@contextmanager
def _sealed(connection: RecordConnection, sealer: Sealer) -> Iterator[None]:
    """Commit what the block does with a seal behind it: nothing that was pruned is ever the end of a journal."""
    with transaction(connection):
        yield
        if connection.journal.has_changes:
            connection.journal.flush(connection)
            sealer.seal(connection.journal, 0)


def _removed(connection: RecordConnection, sealer: Sealer, *asked: *_Asked) -> Iterator[Removed]:
    """Remove batch after batch, each durable by itself."""
    while True:
        with _sealed(connection, sealer):
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
        return _pruned(connection, batches, old, before)


def _remove_files(
    connection: RecordConnection, sealer: Sealer, directory: Path, old: Sequence[_Numbered], now_utc: float
) -> None:
    """Remove files, after their rows have said so: what is left of them by a kill is found by these rows.

    Where one cannot be removed, the rows of those that are there say again that they are.

    Raises:
        RunError: a file cannot be removed, or its path leads elsewhere.
    """
    for table, _, stored in old:
        for path in stored.paths:
            stored_path(directory, path, table.folder)
    with _sealed(connection, sealer):
        _mark_deleted(connection, old, now_utc)
    done = 0
    try:
        for table, _, stored in old:
            first, *others = stored.paths
            remove_stored(directory, first, table.folder)
            done += 1
            for path in others:
                remove_stored(directory, path, table.folder)
    except OSError as exc:
        with _sealed(connection, sealer):
            for table, number, _ in old[done:]:
                connection.execute(table.mark_kept, (number,))
        raise RunError(f"{exc.filename}: cannot be removed: {exc.strerror}") from exc


def _mark_deleted(connection: sqlite3.Connection, old: Sequence[_Numbered], now_utc: float) -> None:
    for table, number, _ in old:
        connection.execute(table.mark_deleted, (now_utc, DeletedWhy.PRUNE, number))


def _by_table(batches: Sequence[Removed]) -> tuple[Removed, ...]:
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
