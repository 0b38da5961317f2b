# SPDX-License-Identifier: AGPL-3.0-or-later
"""The options of `vision-line report`, which hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import RECORDS, Record


def report(
    record: Record = RECORDS,
    shift: Annotated[
        str | None,
        typer.Option(
            "--shift", metavar="DAY/NAME", help="Shift such as 2026-11-27/early. Default: the last whole one."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="From this time on the plant's clock, or age such as 8h."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Before this time. Default: now.")
    ] = None,
    last: Annotated[str | None, typer.Option("--last", metavar="AGE", help="From this age on, such as 8h.")] = None,
    lot: Annotated[
        str | None, typer.Option("--lot", metavar="LOT", help="The time in which this lot was made.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Output file; - is standard output.")
    ] = Path("report.html"),
    verify_: Annotated[
        bool, typer.Option("--verify", help="Verify the journal first, and say so in the report.")
    ] = False,
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=0, max=500, help="Show the newest N rejects.")
    ] = 60,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone", metavar="ZONE", help="Time zone of the plant's clock. Default: as recorded, or UTC."
        ),
    ] = None,
    shifts: Annotated[
        str | None, typer.Option("--shifts", metavar="TIMES", help="Starts such as 06:00,14:00. Default: as recorded.")
    ] = None,
) -> None:
    """Write what a shift inspected, missed and found to one HTML file that prints well, also during a run."""
    with reported_errors():
        from vision_line.cli.report import write_report
        from vision_line.desk.report.period import WantedPeriod

        wanted = WantedPeriod(shift, since, until, last, timezone=timezone, shifts=shifts, lot=lot)
        write_report(record, wanted, output, images, check=verify_)
