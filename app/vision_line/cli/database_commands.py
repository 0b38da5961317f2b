# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line database` with its options; each command hands over to its own module."""

from __future__ import annotations

from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import AsJson
from vision_line.commands import CarefulTyper

database_cli = CarefulTyper(
    name="database", help="The central record: one PostgreSQL database for many boxes.", no_args_is_help=True
)

Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="postgresql://USER:{NAME}@HOST/NAME; {NAME} is a secret. Default: VISION_LINE_DATABASE.",
    ),
]


@database_cli.command("init")
def init_database(database: Database = None) -> None:
    """Make the tables in an empty database."""
    with reported_errors():
        from vision_line.cli.database import make

        make(database)


@database_cli.command("migrate")
def migrate_database(database: Database = None) -> None:
    """Bring the tables up to date, before the boxes are; those of the version before go on meanwhile."""
    with reported_errors():
        from vision_line.cli.database import migrate

        migrate(database)


@database_cli.command("status")
def show_database(
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show how far each box has come, when it was there last, and how far its clock is off."""
    with reported_errors():
        from vision_line.cli.database import show_status

        show_status(database, as_json=as_json)


@database_cli.command("prune")
def prune_database(
    keep_days: Annotated[
        int, typer.Option("--keep-days", metavar="N", min=1, help="Remove months whose rows are all older than N days.")
    ],
    database: Database = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
) -> None:
    """Remove old months of all boxes; runs, cameras, lots and reviews stay."""
    with reported_errors():
        from vision_line.cli.database import prune_months

        prune_months(database, keep_days, dry_run=dry_run)
