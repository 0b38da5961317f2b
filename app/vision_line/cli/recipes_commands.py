# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line recipes` and what is below it, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import AsJson, RecordOfLine
from vision_line.commands import CarefulTyper

recipes_cli = CarefulTyper(
    name="recipes", help="What is inspected otherwise while a product is made.", rich_markup_mode="rich"
)

Streams = Annotated[Path, typer.Option("--streams", metavar="FILE", help="The streams.toml with the recipes.")]
STREAMS = Path("streams.toml")


@recipes_cli.command("use")
def use(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The recipe.")] = None,
    none: Annotated[bool, typer.Option("--none", help="Inspect without a recipe.")] = False,
    lane: Annotated[str | None, typer.Option("--lane", metavar="NAME", help="Only at this lane's cameras.")] = None,
    streams: Streams = STREAMS,
    record: RecordOfLine = None,
) -> None:
    """Inspect by a recipe from the next part on, and say whether the run does."""
    with reported_errors():
        from vision_line.cli.recipes import use_recipe

        use_recipe(streams, record, name, lane, none=none)


@recipes_cli.command("list")
def show(
    streams: Streams = STREAMS,
    record: RecordOfLine = None,
    as_json: AsJson = False,
) -> None:
    """Show which recipes there are, which is in force, and who asked for it."""
    with reported_errors():
        from vision_line.cli.recipes import list_recipes

        list_recipes(streams, record, as_json=as_json)
