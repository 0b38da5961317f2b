# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line report`: what a shift inspected, missed and found, as one file for quality people."""

from __future__ import annotations

import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vision_line.cli.progress import progress_bar
from vision_line.errors import BrokenRecordError, ConfigError
from vision_line.output_files import write_output
from vision_line.packages import install_extra
from vision_line.records.schema import FILE_NAME, no_records
from vision_line.runtime.output_check import check_outputs, takes_standard_output
from vision_line.runtime.protected_files import check_apart, kept_records

if TYPE_CHECKING:
    from vision_line.desk.report.period import WantedPeriod

#: What the report is made with that the runtime does not import.
_NEEDED = ("jinja2", "segno")


def write_report(record: Path, wanted: WantedPeriod, output: Path, most_images: int, *, check: bool) -> None:
    """Write the report on `record` to `output`, with `check` after the journal was checked.

    Raises:
        ConfigError: a package is missing, there are no records, no such time, or `output` cannot be written.
        VisionLineError: the journal does not hold, which the report says too; or the records cannot be read.
        BrokenPipeError: the reader of the standard output went away.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(f"the report needs {', '.join(missing)}: {install_extra('desk')}")
    from vision_line.desk.report.document import document
    from vision_line.desk.report.shift_report import check_journal_of, read_report

    if not (record / FILE_NAME).is_file():
        raise ConfigError(no_records(record, "--record"))
    check_outputs({"-o": output}, {})
    check_apart([(f"-o {output}", output)], kept_records(record))
    checked = None
    if check:
        with progress_bar("Verifying the journal") as progress:
            checked = check_journal_of(record, progress)
    report = read_report(record, wanted, time.time(), most_images, checked)
    write_output(output, document(report), "-o")
    typer.echo(
        f"{output}: {report.period.title}, {report.period.clock.span(report.period.time)}",
        err=takes_standard_output(output),
    )
    if checked is not None and not checked.holds:
        raise BrokenRecordError(checked.said)
