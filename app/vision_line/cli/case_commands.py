# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line case list` and `vision-line case export` with their options; each hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import RECORDS, Record
from vision_line.commands import CarefulTyper

case_cli = CarefulTyper(name="case", help="Cases that people made at the desk.", no_args_is_help=True)


@case_cli.command("list")
def list_cases(record: Record = RECORDS) -> None:
    """Show the cases: number, state, events, who made it, and its name."""
    with reported_errors():
        from vision_line.cli.case import show

        show(record)


@case_cli.command("export")
def export_case(
    number: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The case's number.")],
    record: Record = RECORDS,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Output file; - is standard output."),
    ] = None,
) -> None:
    """Verify the record, and write a case as one ZIP archive. Exit code 5: the record does not hold."""
    with reported_errors():
        from vision_line.cli.case import export

        export(record, number, output)
