# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line case`: the cases of a record directory, listed and exported without a browser."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import typer

from vision_line.cli.progress import progress_bar
from vision_line.errors import BrokenRecordError, ConfigError
from vision_line.output_files import open_output
from vision_line.packages import install_extra
from vision_line.records.schema import FILE_NAME, no_records, open_reader, translated
from vision_line.reviews.cases import Case, Cases
from vision_line.runtime.output_check import check_outputs, takes_standard_output
from vision_line.runtime.protected_files import check_apart, kept_records
from vision_line.screens.lines import say

#: What the archive's page is made with.
_NEEDED = ("jinja2", "starlette")


def show(record: Path) -> None:
    """Print the cases, the first one first.

    Raises:
        ConfigError: there is no record directory.
        RunError: `reviews.sqlite` cannot be read.
    """
    for case in _cases(record).all()[::-1]:
        state = "open" if case.is_open else "closed"
        say(f"{case.number}\t{state}\t{len(case.events)}\t{case.by}\t{case.name}", sys.stdout)


def export(record: Path, number: int, output: Path | None) -> None:
    """Write a case as one archive.

    Raises:
        ConfigError: a package is missing, there are no records, no such case, or `output` cannot be written.
        VisionLineError: the journal does not hold, which the archive says too; or the records cannot be read.
        BrokenPipeError: the reader of the standard output went away.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(f"the archive needs {', '.join(missing)}: {install_extra('desk')}")
    from vision_line.desk.cases.case_contents import read_contents
    from vision_line.desk.cases.case_zip import archive, archive_name
    from vision_line.desk.cases.record_check import checked
    from vision_line.desk.local_time import shown_by
    from vision_line.desk.recorded_clock import clock_of

    case = _case(record, number)
    output = output or Path(f"{archive_name(number)}.zip")
    check_outputs({"-o": output}, {})
    check_apart([(f"-o {output}", output)], kept_records(record))
    with progress_bar("Verifying the journal") as progress:
        found = checked(record, progress)
    with closing(open_reader(record)) as connection, translated(record / FILE_NAME, "reading"):
        contents = read_contents(connection, record, case, time.time())
        clock = clock_of(connection)
    with shown_by(clock), open_output(output, "-o") as file:
        for piece in archive(contents, found):
            file.write(piece)
    typer.echo(f"{output}: case {number}, {len(case.events)} events", err=takes_standard_output(output))
    if not found.holds:
        raise BrokenRecordError(found.said)


def _cases(record: Path) -> Cases:
    if not record.is_dir():
        raise ConfigError(f"--record {record}: expected the folder of the records")
    return Cases(record)


def _case(record: Path, number: int) -> Case:
    case = _cases(record).find(number)
    if case is None:
        raise ConfigError(f"there is no case {number} in {record}: vision-line case list shows those that there are")
    if not (record / FILE_NAME).is_file():
        raise ConfigError(no_records(record, "--record"))
    return case
