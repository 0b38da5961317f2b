# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line lanes` and what is below it, with their options; each hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import RECORDS, AsJson, Record, RecordOfLine
from vision_line.commands import CarefulTyper

lanes_cli = CarefulTyper(name="lanes", no_args_is_help=False, rich_markup_mode="rich")


@lanes_cli.callback(invoke_without_command=True)
def lanes(
    context: typer.Context,
    streams: Annotated[
        Path | None, typer.Option("--streams", metavar="FILE", help="Decide as the lanes of this streams.toml say.")
    ] = None,
    record: RecordOfLine = None,
) -> None:
    """Decide each part that passes, on time, or say that it was not inspected; beside a run, for a PLC."""
    if context.invoked_subcommand is not None:
        return
    with reported_errors():
        from vision_line.cli.lanes import serve_lanes

        raise typer.Exit(serve_lanes(streams, record))


@lanes_cli.command("status")
def show_status(
    record: Record = RECORDS,
    as_json: AsJson = False,
) -> None:
    """Show how each lane is, what was decided, and what is wrong."""
    with reported_errors():
        from vision_line.cli.lanes import print_lanes

        print_lanes(record, as_json=as_json)
