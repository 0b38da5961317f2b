# SPDX-License-Identifier: AGPL-3.0-or-later
"""Makes rows and their files agree at a start: what a run that died, or a disk, left otherwise than they say."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from vision_line.errors import RunError
from vision_line.records.clip_rows import GOES_ON, next_name
from vision_line.records.directory import PARTIAL_NAME, ForeignFileError, remove_stored, stored_path
from vision_line.records.file_tables import AUDITS, CLIPS, FILE_TABLES, NEAR_MISSES, DeletedWhy, FileTable
from vision_line.records.schema import transaction
from vision_line.records.stored_files import StorageUsage, kept_files

logger = logging.getLogger(__name__)

#: How files of a run are called: its number goes first.
_OF_A_RUN = re.compile(r"(\d+)-.+\.(mp4|jpg)")
_DEAD = "SELECT run FROM runs WHERE ended_utc IS NULL"
#: An event has its clip, or a row that says why not: so has one whose run died before it was written.
_UNTOLD = """SELECT v.run, v.camera, v.station, v.recipe, v.event_id FROM events v JOIN runs r ON r.run = v.run
    WHERE r.ended_utc IS NULL AND instr(r.clips, v.verdict) AND (v.run, v.event_id) NOT IN (
        SELECT c.run, e.value FROM clips c JOIN runs d ON d.run = c.run, json_each(c.events) e WHERE d.ended_utc IS NULL
    ) ORDER BY v.event"""
_OF_THE_DEAD = "SELECT c.run, c.clip_id FROM clips c JOIN runs r ON r.run = c.run WHERE r.ended_utc IS NULL"
_GOING_ON = """SELECT c.run, c.camera, c.station, c.recipe, c.clip_id, c.events FROM clips c
    JOIN runs r ON r.run = c.run WHERE r.ended_utc IS NULL AND instr(c.note, ?) ORDER BY c.clip"""
_INSERT_CLIP = """INSERT INTO clips (run, camera, station, recipe, clip_id, events, codec, frames, reencoded, note,
    bytes, created_utc, missing) VALUES (?, ?, ?, ?, ?, ?, '', 0, 0, '', 0, ?, ?)"""


def reconcile_files(connection: sqlite3.Connection, directory: Path, now_utc: float) -> dict[str, StorageUsage]:
    """Make rows and files of all tables but evidence agree; return what is kept, by table.

    What a prune of any table left is removed first. A row whose file is gone is marked deleted. A file that a run which
    died left without a row is removed; an event that then has no clip gets a row that says so. To be called while those
    runs have no end yet.

    Raises:
        RunError: a folder is not in the record directory.
        sqlite3.Error, OSError: the record directory cannot be read or written.
    """
    tables = (CLIPS, NEAR_MISSES, AUDITS)
    for table in tables:
        check_folder(directory, table)
    for problem in finish_removal(connection, directory):
        logger.warning("a file that was to be pruned is left: %s", problem)
    with transaction(connection):
        dead = {run for (run,) in connection.execute(_DEAD)}
        for folder in {table.folder for table in tables}:
            _remove_unnamed(connection, directory, [table for table in tables if table.folder == folder], dead)
        _explain_clips(connection, now_utc)
        return {table.table: mark_lost(connection, directory, table, now_utc) for table in tables}


def finish_removal(connection: sqlite3.Connection, directory: Path) -> Iterator[str]:
    """Remove the files that a prune was killed over: their rows say already that it removed them. Return problems.

    Raises:
        sqlite3.Error: as it comes.
    """
    for table in FILE_TABLES.values():
        sql = f"SELECT {', '.join(table.paths)} FROM {table.table} WHERE deleted_why = ?"  # noqa: S608  names, of this package
        for path in filter(None, chain.from_iterable(connection.execute(sql, (DeletedWhy.PRUNE,)))):
            try:
                remove_stored(directory, path, table.folder)
            except OSError as exc:
                yield f"{exc.filename}: cannot be removed: {exc.strerror}"
            except ForeignFileError as exc:
                yield str(exc)


def check_folder(directory: Path, table: FileTable) -> None:
    """Refuse a folder whose files would all be taken for removed.

    Raises:
        RunError: it leads elsewhere.
    """
    folder = directory / table.folder
    if not folder.resolve().is_relative_to(directory.resolve()):
        raise RunError(f"{folder}: leads out of the record directory; let the whole directory be elsewhere")


def mark_lost(connection: sqlite3.Connection, directory: Path, table: FileTable, now_utc: float) -> StorageUsage:
    """Mark rows whose files are gone, and return what is there. To be called in a transaction.

    Raises:
        sqlite3.Error: as it comes.
    """
    rows = size = 0
    for number, stored in kept_files(connection, table):
        if is_stored(directory, stored.paths[0], table):
            rows, size = rows + 1, size + stored.size
        else:
            connection.execute(table.mark_deleted, (now_utc, DeletedWhy.LOST, number))
    return StorageUsage(rows, size)


def is_stored(directory: Path, path: str, table: FileTable) -> bool:
    """Whether a row's file is there, and in its place."""
    try:
        return stored_path(directory, path, table.folder).is_file()
    except ForeignFileError as exc:
        logger.error("%s that the records name is ignored: %s", table.what, exc)
        return False


def _remove_unnamed(
    connection: sqlite3.Connection, directory: Path, tables: Sequence[FileTable], dead: set[int]
) -> None:
    """Remove the files of the runs that died which none of the tables of one folder names, and what was half written.

    Raises:
        sqlite3.Error, OSError: as it comes.
    """
    root = directory / tables[0].folder
    for partial in root.glob(f"{PARTIAL_NAME}*"):
        partial.unlink()
    named = {path for table in tables for run in dead for path in _paths_of(connection, table, run)}
    for path in _files_of(root, dead):
        if path.relative_to(directory).as_posix() not in named:
            logger.warning("%s: its run ended before its row was written; it is removed", path)
            path.unlink()


def _files_of(root: Path, runs: set[int]) -> Iterator[Path]:
    """Return the files of `runs` below `root`: a day's folder, a camera's folder, a name that begins with the run."""
    for path in root.glob("*/*/*") if runs else ():
        found = _OF_A_RUN.fullmatch(path.name)
        if found is not None and int(found[1]) in runs and path.is_file() and not path.is_symlink():
            yield path


def _paths_of(connection: sqlite3.Connection, table: FileTable, run: int) -> Iterator[str | None]:
    sql = f"SELECT {', '.join(table.paths)} FROM {table.table} WHERE run = ?"  # noqa: S608  names, of this package
    return chain.from_iterable(connection.execute(sql, (run,)))


def _explain_clips(connection: sqlite3.Connection, now_utc: float) -> None:
    """Say what a run that died did not come to write: clips of events, and the files that others go on in."""
    reason = "the program ended before the clip was written"
    connection.executemany(_INSERT_CLIP, [(*row, now_utc, reason) for row in _clips_to_come(connection)])
    rows = [
        (run, camera, station, recipe, event, json.dumps([event]), now_utc, reason)
        for run, camera, station, recipe, event in connection.execute(_UNTOLD)
    ]
    connection.executemany(_INSERT_CLIP, rows)


def _clips_to_come(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    """Return the first columns of each clip that another one names as the one that it goes on in, and that is not."""
    rows = connection.execute(_GOING_ON, (GOES_ON,)).fetchall()
    named = {(run, clip_id) for (run, clip_id) in connection.execute(_OF_THE_DEAD)}
    coming = [(*row[:4], next_name(row[4], json.loads(row[5])[0]), row[5]) for row in map(tuple, rows)]
    return [row for row in coming if (row[0], row[4]) not in named]
