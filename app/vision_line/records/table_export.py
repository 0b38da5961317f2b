# SPDX-License-Identifier: AGPL-3.0-or-later
"""Export: rows of the record file as CSV, JSON lines, Parquet or COCO, also while a run writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from pathlib import Path

from vision_line.errors import ConfigError
from vision_line.output_files import open_output
from vision_line.ports import ProgressCallback
from vision_line.records.coco import export_coco, known_classes
from vision_line.records.columns import COLUMNS, SqlValue, Table
from vision_line.records.formats import iso_utc, write_csv, write_jsonl, write_parquet, write_semicolon_csv
from vision_line.records.query import Query, RowCondition, Selection, plan_query
from vision_line.records.schema import FILE_NAME, no_records, open_reader, translated

#: Rows of one read. Each is a transaction of its own, so that a long export does not keep the writer's log from
#: being folded back into the file.
CHUNK_ROWS = 5000


class Format(StrEnum):
    """How a table is written."""

    CSV = "csv"
    CSV_SEMICOLON = "csv-semicolon"
    JSONL = "jsonl"
    PARQUET = "parquet"
    COCO = "coco"


_WRITERS = {
    Format.CSV: write_csv,
    Format.CSV_SEMICOLON: write_semicolon_csv,
    Format.JSONL: write_jsonl,
    Format.PARQUET: write_parquet,
}


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export wrote.

    `images_missing` were deleted by a running line while they were copied, `images_left_out` are of frames of which
    detections may have been removed. `strange` has a sentence for each image
    that was left out because it is not the one that was recorded, `removed` one for each time from which rows that were
    asked for had been removed.
    """

    output: Path
    rows: int
    images: int = 0
    images_missing: int = 0
    images_left_out: int = 0
    strange: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def export(
    directory: Path,
    table: Table,
    file_format: Format,
    selection: Selection,
    output: Path,
    progress: ProgressCallback = lambda _done, _total: None,
    also: RowCondition | None = None,
) -> ExportSummary:
    """Write the rows of `table` in the record directory that `selection` wants, oldest first, to `output`.

    `also` narrows them further.

    Every row committed when the export starts is in it, and none begun later. `output` is any that `open_output`
    takes. `progress` is called with rows done and in all.

    Raises:
        ConfigError: no records there, a camera or class that no run had, a filter or format that does not apply to the
            table, or a library for the format is missing.
        RunError: reading or writing failed.
        BrokenPipeError: `output` is the standard output, and its reader went away.
    """
    if file_format is Format.COCO and table is not Table.EVENTS:
        raise ConfigError(f"--format coco exports events with their images; it does not apply to table {table}")
    query = plan_query(table, selection, also)
    if not (directory / FILE_NAME).is_file():
        raise ConfigError(no_records(directory, "--record"))
    with closing(open_reader(directory)) as connection, translated(directory / FILE_NAME, "reading"):
        _check_names(connection, selection)
        if file_format is Format.COCO:
            found = export_coco(connection, directory, query, output, progress)
            counts = (len(found.annotations), len(found.images), found.missing, found.left_out)
            return ExportSummary(output, *counts, tuple(found.strange), _removed(connection, table, selection, also))
        rows = write_rows(connection, query, file_format, output, progress)
        return ExportSummary(output, rows, removed=_removed(connection, table, selection, also))


def write_rows(
    connection: sqlite3.Connection, query: Query, file_format: Format, output: Path, progress: ProgressCallback
) -> int:
    """Write the rows of `query` to `output`, in any format but COCO; return how many.

    Raises:
        ConfigError: a library for the format is missing.
        RunError: writing failed.
        sqlite3.Error: as it comes.
    """
    with open_output(output) as file:
        rows = _Rows(connection, query, progress)
        _WRITERS[file_format](file, COLUMNS[query.table], rows.chunks())
    return rows.done


def _check_names(connection: sqlite3.Connection, selection: Selection) -> None:
    """Refuse cameras and classes that are in no run: a spelling mistake must not look like "nothing found".

    Raises:
        ConfigError: each such name, with what there is.
    """
    cameras = [name for (name,) in connection.execute("SELECT DISTINCT name FROM cameras ORDER BY name")]
    asked = (
        ("--camera", selection.cameras, cameras),
        ("--class", selection.classes, list(known_classes(connection))),
    )
    problems = [
        f"{option} {name}: not in these records, expected one of {', '.join(known)}"
        for option, names, known in asked
        for name in names
        if name not in known
    ]
    if problems:
        raise ConfigError(*problems)


def _removed(
    connection: sqlite3.Connection, table: Table, selection: Selection, also: RowCondition | None
) -> tuple[str, ...]:
    """Say what was removed from `table` within the time that is asked for: there, nothing found means nothing."""
    since_utc = -inf if selection.since_utc is None else selection.since_utc
    until_utc = inf if selection.until_utc is None else selection.until_utc
    if also is not None:
        since_utc, until_utc = max(since_utc, also.since_utc), min(until_utc, also.until_utc)
    asked = (table, since_utc, until_utc)
    sql = "SELECT rows, from_utc, to_utc, why FROM removals WHERE removed_from = ? AND to_utc >= ? AND from_utc < ?"
    return tuple(
        f"{rows} rows of {table} were removed ({why}) from {iso_utc(from_utc)} to {iso_utc(to_utc)}"
        for rows, from_utc, to_utc, why in connection.execute(f"{sql} ORDER BY from_utc", asked)
    )


class _Rows:
    """Reads a query's rows in chunks, and counts them."""

    def __init__(self, connection: sqlite3.Connection, query: Query, progress: ProgressCallback) -> None:
        self._connection = connection
        self._query = query
        self._progress = progress
        self.done = 0

    def chunks(self) -> Iterator[list[tuple[SqlValue, ...]]]:
        query = self._query
        self._connection.row_factory = None
        total, highest = self._connection.execute(query.count_sql(), query.parameters).fetchone()
        last: tuple[SqlValue, SqlValue] = (float("-inf"), -1)
        sql = query.chunk_sql(CHUNK_ROWS)
        while rows := self._connection.execute(sql, (*query.parameters, highest, *last)).fetchall():
            last = (rows[-1][0], rows[-1][1])
            yield [row[2:] for row in rows]
            self.done += len(rows)
            self._progress(self.done, total)
