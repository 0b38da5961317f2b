# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line ship` and what is below it, with their options; each hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.commands import CarefulTyper

ship_cli = CarefulTyper(name="ship", no_args_is_help=False, rich_markup_mode="rich")


@ship_cli.callback(invoke_without_command=True)
def ship(
    context: typer.Context,
    streams: Annotated[
        Path | None, typer.Option("--streams", metavar="FILE", help="Ship as \\[central] of this streams.toml says.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="DIR", help="Folder of the records. Default: as in streams.toml."),
    ] = None,
) -> None:
    """Ship records to the database of many boxes, also during a run. Nothing is lost, and nothing comes twice."""
    if context.invoked_subcommand is not None:
        return
    with reported_errors():
        from vision_line.cli.ship import serve_shipping

        raise typer.Exit(serve_shipping(streams, record))


@ship_cli.command("status")
def show_shipping(
    record: Annotated[Path, typer.Option("--record", metavar="DIR", help="Folder of the records.")] = Path("records"),
    as_json: Annotated[bool, typer.Option("--json", help="Output as JSON.")] = False,
) -> None:
    """Show how far the records are in the database, and what is wrong."""
    with reported_errors():
        from vision_line.cli.ship import print_shipping

        print_shipping(record, as_json=as_json)


@ship_cli.command("compare")
def compare_records(
    streams: Annotated[Path, typer.Option("--streams", metavar="FILE", help="The streams.toml with \\[central].")],
    record: Annotated[
        Path | None,
        typer.Option("--record", metavar="DIR", help="Folder of the records. Default: as in streams.toml."),
    ] = None,
) -> None:
    """Compare every row of the box with what the database has. Exit code 5: they differ."""
    with reported_errors():
        from vision_line.cli.ship import compare

        raise typer.Exit(compare(streams, record))
