# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line export`: a table of the records in a file for QA, with a progress bar."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import typer

from vision_line.cli.progress import progress_bar
from vision_line.errors import RunError
from vision_line.parts.lot_export import export_of_lots
from vision_line.parts.part import PartVerdict
from vision_line.parts.part_export import export_parts
from vision_line.records.coco import images_folder
from vision_line.records.columns import Table
from vision_line.records.query import OF_PARTS, Selection, parse_moment
from vision_line.records.table_export import Format, export
from vision_line.runtime.output_check import check_outputs, takes_standard_output
from vision_line.runtime.protected_files import check_apart, kept_records

_ENDINGS = {Format.COCO: "json", Format.CSV_SEMICOLON: "csv"}


def export_table(record: Path, table: Table, file_format: Format, asked: Selection, output: Path | None) -> None:
    """Write the rows that `asked` wants to `output`, `TABLE.FORMAT` in the working directory where none is given.

    Raises:
        ConfigError: `output` cannot be written, or would replace the records.
        VisionLineError: a filter that does not apply, no records, a disk that is full, or images that were left out
            because they are not those that were recorded.
        BrokenPipeError: the reader of the standard output went away.
    """
    target = output or Path(f"{table}.{_ENDINGS.get(file_format, file_format)}")
    check_outputs({"-o": target}, {})
    images_to = _images_beside(target, file_format)
    check_apart([(f"-o {target}", target), (f"-o {images_to}", images_to)], kept_records(record))
    with progress_bar(f"Exporting {table}") as report:
        write = export_parts if table in OF_PARTS else export_of_lots if asked.lots else export
        summary = write(record, table, file_format, asked, target, report)
    rows = "boxes" if file_format is Format.COCO else "rows"
    images = f", {summary.images} images" if summary.images else ""
    missing = f" ({summary.images_missing} were removed meanwhile)" if summary.images_missing else ""
    typer.echo(f"{target}: {summary.rows} {rows}{images}{missing}", err=takes_standard_output(target))
    if left_out := summary.images_left_out:
        were = "1 image was" if left_out == 1 else f"{left_out} images were"
        typer.echo(f"{were} left out: what else was found there was removed from the records", err=True)
    for sentence in summary.removed:
        typer.echo(f"{sentence}: that there is nothing does not mean that nothing was found", err=True)
    if summary.strange:
        raise RunError("\n".join((f"{len(summary.strange)} images were left out:", *summary.strange)))


def _images_beside(target: Path, file_format: Format) -> Path | None:
    return images_folder(Path(os.path.realpath(target))) if file_format is Format.COCO else None


def selected(
    since: str | None,
    until: str | None,
    cameras: Sequence[str],
    classes: Sequence[str],
    verdicts: Sequence[PartVerdict],
    lots: Sequence[str] = (),
) -> Selection:
    """Return what the options ask for.

    Raises:
        ConfigError: a moment is none.
    """
    now_utc = time.time()
    return Selection(
        since_utc=None if since is None else parse_moment(since, now_utc),
        until_utc=None if until is None else parse_moment(until, now_utc),
        cameras=tuple(cameras),
        classes=tuple(classes),
        verdicts=tuple(verdicts),
        lots=tuple(lots),
    )
