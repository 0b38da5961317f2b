# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line ship` and what is below it, with their options; each hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import RECORDS, AsJson, Record, RecordOfLine
from vision_line.commands import CarefulTyper

ship_cli = CarefulTyper(name="ship", no_args_is_help=False, rich_markup_mode="rich")


@ship_cli.callback(invoke_without_command=True)
def ship(
    context: typer.Context,
    streams: Annotated[
        Path | None, typer.Option("--streams", metavar="FILE", help="Ship as \\[central] of this streams.toml says.")
    ] = None,
    record: RecordOfLine = None,
) -> None:
    """Ship records to the database of many boxes, also during a run. Nothing is lost, and nothing comes twice."""
    if context.invoked_subcommand is not None:
        return
    with reported_errors():
        from vision_line.cli.ship import serve_shipping

        raise typer.Exit(serve_shipping(streams, record))


@ship_cli.command("status")
def show_shipping(
    record: Record = RECORDS,
    as_json: AsJson = False,
) -> None:
    """Show how far the records are in the database, and what is wrong."""
    with reported_errors():
        from vision_line.cli.ship import print_shipping

        print_shipping(record, as_json=as_json)


@ship_cli.command("compare")
def compare_records(
    streams: Annotated[Path, typer.Option("--streams", metavar="FILE", help="The streams.toml with \\[central].")],
    record: RecordOfLine = None,
) -> None:
    """Compare every row of the box with what the database has. Exit code 5: they differ."""
    with reported_errors():
        from vision_line.cli.ship import compare

        raise typer.Exit(compare(streams, record))
