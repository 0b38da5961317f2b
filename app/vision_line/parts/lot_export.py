# SPDX-License-Identifier: AGPL-3.0-or-later
"""Export of what the records have of a lot: events, minutes, gaps, near misses, audits."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from vision_line.errors import ConfigError
from vision_line.parts.lot_rows import OF_LOTS, any_of, read_lot_rows
from vision_line.parts.part_export import check_lots
from vision_line.parts.parts_file import FILE_NAME, PARTS_FILE
from vision_line.parts.parts_removal import RemovedParts, removed_parts
from vision_line.ports import ProgressCallback
from vision_line.records.columns import Table
from vision_line.records.query import RowCondition, Selection
from vision_line.records.schema import FILE_NAME as RECORDS
from vision_line.records.schema import no_records, open_reader, translated
from vision_line.records.table_export import ExportSummary, Format, export


def export_of_lots(
    directory: Path,
    table: Table,
    file_format: Format,
    selection: Selection,
    output: Path,
    progress: ProgressCallback = lambda _done, _total: None,
) -> ExportSummary:
    """Write those rows of `table` that are of any of `selection.lots`, else as `table_export.export` does.

    Raises:
        ConfigError: the table has no rows of lots, nobody began one, or as `export` says.
        RunError: reading or writing failed.
        BrokenPipeError: `output` is the standard output, and its reader went away.
    """
    if table not in OF_LOTS:
        raise ConfigError(f"--lot does not apply to table {table}")
    if not (directory / RECORDS).is_file():
        raise ConfigError(no_records(directory, "--record"))
    condition, removed = _read(directory, table, selection.lots)
    rest = replace(selection, lots=())
    summary = export(directory, table, file_format, rest, output, progress, also=condition)
    if table is not Table.EVENTS or not removed.meets(condition.since_utc, condition.until_utc):
        return summary
    said = (
        f"{removed.parts} part{'s' if removed.parts > 1 else ''} removed for age, from {removed.span}:"
        " of events of then only their time says of which lot they are"
    )
    return replace(summary, removed=(*summary.removed, said))


def _read(directory: Path, table: Table, lots: tuple[str, ...]) -> tuple[RowCondition, RemovedParts]:
    """Return what holds for the lots' rows, and which parts were removed."""
    parts = PARTS_FILE.reader(directory)
    if parts is None:
        raise ConfigError(f"--lot: nobody began a lot in {directory}: there is no {FILE_NAME}")
    with closing(parts), translated(directory / FILE_NAME, "reading"):
        check_lots(parts, lots)
        with closing(open_reader(directory)) as records, translated(directory / RECORDS, "reading"):
            conditions = [read_lot_rows(parts, records, lot).condition(table) for lot in lots]
        return any_of(conditions), removed_parts(parts)
