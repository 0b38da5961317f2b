# SPDX-License-Identifier: AGPL-3.0-or-later
"""Export of what `parts.sqlite` has, parts and lots, in the formats of the records."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from math import inf
from pathlib import Path

from vision_line.errors import ConfigError
from vision_line.parts.parts_file import FILE_NAME, PARTS_FILE
from vision_line.parts.parts_removal import RemovedParts, removed_parts
from vision_line.ports import ProgressCallback
from vision_line.records.columns import Table
from vision_line.records.query import Selection, plan_query
from vision_line.records.schema import translated
from vision_line.records.table_export import ExportSummary, Format, write_rows

_IS_KNOWN = (
    "SELECT EXISTS (SELECT 1 FROM parts WHERE lot = :lot AND lot <> '') OR EXISTS (SELECT 1 FROM lots WHERE lot = :lot)"
)


def export_parts(
    directory: Path,
    table: Table,
    file_format: Format,
    selection: Selection,
    output: Path,
    progress: ProgressCallback = lambda _done, _total: None,
) -> ExportSummary:
    """Write the rows of `table`, one of `OF_PARTS`, as `table_export.export` does of the records.

    Raises:
        ConfigError: no lane ever ran there, a filter or format that does not apply, or a lot that nobody began.
        RunError: reading or writing failed.
        BrokenRecordError: the file does not say which parts were removed.
        BrokenPipeError: `output` is the standard output, and its reader went away.
    """
    if file_format is Format.COCO:
        raise ConfigError(f"--format coco exports events with their images; it does not apply to table {table}")
    query = plan_query(table, selection)
    connection = PARTS_FILE.reader(directory)
    if connection is None:
        raise ConfigError(f"--record: {directory} has no parts: there is no {FILE_NAME}")
    with closing(connection), translated(directory / FILE_NAME, "reading"):
        check_lots(connection, selection.lots)
        rows = write_rows(connection, query, file_format, output, progress)
        # Asked afterwards: retention may have gone on meanwhile.
        removed = _removed(removed_parts(connection), selection) if table is Table.PARTS else ()
        return ExportSummary(output, rows, removed=removed)


def _removed(removed: RemovedParts, selection: Selection) -> tuple[str, ...]:
    """Say what was removed within the time that is asked for, of whichever lot it was."""
    since_utc = -inf if selection.since_utc is None else selection.since_utc
    until_utc = inf if selection.until_utc is None else selection.until_utc
    is_apart = removed.is_dated and (removed.to_utc < since_utc or removed.from_utc >= until_utc)
    return () if not removed.parts or is_apart else (f"{_went(removed)} for age, from {removed.span}",)


def _went(removed: RemovedParts) -> str:
    return "1 part was removed" if removed.parts == 1 else f"{removed.parts} parts were removed"


def check_lots(connection: sqlite3.Connection, lots: tuple[str, ...]) -> None:
    """Refuse lots that nobody began: a spelling mistake must not look like "nothing was made".

    A lot that only triggers named is known by its parts alone: where parts were removed, it may have been there.

    Raises:
        ConfigError: each such lot.
    """
    unknown = [lot for lot in lots if not connection.execute(_IS_KNOWN, {"lot": lot}).fetchone()[0]]
    if unknown:
        removed = removed_parts(connection)
        no_part = "no part is of it"
        if removed.parts:
            no_part = (
                f"no part that is kept is of it; {_went(removed)} for age, from {removed.span}, and may have been of it"
            )
        raise ConfigError(*(f"--lot: nobody began a lot {lot!r}, and {no_part}" for lot in unknown))
