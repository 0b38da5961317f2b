# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tables as files: CSV for spreadsheets, JSON lines for programs, Parquet for analysis. Rows come in chunks."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import RawIOBase, TextIOWrapper
from typing import TYPE_CHECKING, BinaryIO, TextIO

from vision_line.errors import ConfigError, RunError
from vision_line.packages import install_extra
from vision_line.records.columns import ColumnType, ExportColumn, SqlValue
from vision_line.words import printable, printable_json

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Chunk = Sequence[Sequence[SqlValue]]

#: A spreadsheet takes a cell that begins so for a formula, and runs it; some take the wide forms for the same.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def iso_utc(seconds: float) -> str:
    """Return a moment as `2026-01-31T12:00:00.123456Z`; in half the time that `strftime` takes.

    Raises:
        RunError: there is no such moment, so it is none of a record that this program wrote.
    """
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"
    except (OverflowError, ValueError, OSError) as exc:
        raise RunError(f"the records are damaged: {seconds!r} is no moment") from exc


def spreadsheet_text(text: str) -> str:
    """Return `text` so that a spreadsheet shows it and does not run it, and a terminal neither.

    A formula gets a `'` before it, control characters are written out.
    """
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def write_csv(output: BinaryIO, columns: Sequence[ExportColumn], chunks: Iterable[Chunk]) -> None:
    """Write RFC 4180 CSV in UTF-8 with a byte order mark: without it Excel shows umlauts and Chinese wrongly."""
    _write_cells(output, ",", columns, chunks, _csv_cell)


def write_semicolon_csv(output: BinaryIO, columns: Sequence[ExportColumn], chunks: Iterable[Chunk]) -> None:
    """Write the same for spreadsheets of a language that writes 0,5: `;` between cells, a comma in decimal numbers."""
    _write_cells(output, ";", columns, chunks, _semicolon_cell)


def write_jsonl(output: BinaryIO, columns: Sequence[ExportColumn], chunks: Iterable[Chunk]) -> None:
    """Write one JSON object a line; what is not known is null."""
    with _text_of(output, "utf-8") as file:
        for chunk in chunks:
            for row in chunk:
                cells = {column.name: _json_cell(column, value) for column, value in zip(columns, row, strict=True)}
                file.write(printable_json(json.dumps(cells, ensure_ascii=False)) + "\n")


def write_parquet(output: BinaryIO, columns: Sequence[ExportColumn], chunks: Iterable[Chunk]) -> None:
    """Write a typed Parquet file, a row group a chunk.

    Raises:
        ConfigError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise ConfigError(f"--format parquet needs pyarrow: {install_extra('parquet')}") from exc
    types = {
        ColumnType.TEXT: pa.string(),
        ColumnType.CATEGORY: pa.dictionary(pa.int32(), pa.string()),
        ColumnType.INTEGER: pa.int64(),
        ColumnType.REAL: pa.float64(),
        ColumnType.TIME: pa.timestamp("us", tz="UTC"),
        ColumnType.BOOLEAN: pa.bool_(),
    }
    schema = pa.schema([pa.field(column.name, types[column.kind]) for column in columns])
    with pq.ParquetWriter(pa.PythonFile(_Counted(output), mode="w"), schema) as writer:
        for chunk in chunks:
            by_column = list(zip(*chunk, strict=True))
            arrays = [
                pa.array([_parquet_cell(column, value) for value in values], type=types[column.kind])
                for column, values in zip(columns, by_column, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _write_cells(
    output: BinaryIO,
    between: str,
    columns: Sequence[ExportColumn],
    chunks: Iterable[Chunk],
    cell: Callable[[ExportColumn, SqlValue], SqlValue],
) -> None:
    with _text_of(output, "utf-8-sig") as file:
        writer = csv.writer(file, delimiter=between)
        writer.writerow([column.name for column in columns])
        for chunk in chunks:
            writer.writerows([cell(column, value) for column, value in zip(columns, row, strict=True)] for row in chunk)


@contextmanager
def _text_of(output: BinaryIO, encoding: str) -> Iterator[TextIO]:
    """Yield a text file that writes into `output`, which stays open."""
    file = TextIOWrapper(output, encoding=encoding, newline="")
    try:
        yield file
        file.flush()
    finally:
        file.detach()


class _Counted(RawIOBase):
    """A file to be written from its beginning to its end that knows where it is, which a pipe does not."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: ReadableBuffer) -> int:
        count = self._output.write(data)
        self._written += count
        return count


def _csv_cell(column: ExportColumn, value: SqlValue) -> SqlValue:
    if value is None:
        return ""
    if isinstance(value, str):
        return spreadsheet_text(value)
    cell = _json_cell(column, value)
    return str(cell).lower() if column.kind is ColumnType.BOOLEAN else cell


def _semicolon_cell(column: ExportColumn, value: SqlValue) -> SqlValue:
    cell = _csv_cell(column, value)
    return repr(cell).replace(".", ",") if isinstance(cell, float) else cell


def _json_cell(column: ExportColumn, value: SqlValue) -> SqlValue:
    if column.kind is ColumnType.TIME and isinstance(value, int | float):
        return iso_utc(value)
    return _plain(column, value)


def _parquet_cell(column: ExportColumn, value: SqlValue) -> SqlValue:
    if column.kind is ColumnType.TIME and isinstance(value, int | float):
        return round(value * 1e6)
    return _plain(column, value)


def _plain(column: ExportColumn, value: SqlValue) -> SqlValue:
    return bool(value) if column.kind is ColumnType.BOOLEAN and value is not None else value
