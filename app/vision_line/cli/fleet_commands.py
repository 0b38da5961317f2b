# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line fleet` and what is below it, with their options; each hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.node_commands import Seed, Servers
from vision_line.cli.shared_options import AsJson
from vision_line.commands import CarefulTyper

fleet_cli = CarefulTyper(name="fleet", help="Boxes that share the cameras of a plant.", no_args_is_help=True)


@fleet_cli.command("apply")
def apply_plant(
    plant: Annotated[Path, typer.Argument(metavar="FILE", help="The plant.toml to bring in force.")],
    fleet: Servers,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The operator's private Ed25519 key (PEM).")],
    seed: Seed = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change and move.")] = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Sign with another key than the plant in the store is signed with.")
    ] = False,
) -> None:
    """Check a plant.toml, show what it changes and which cameras move, sign it, and give it to all boxes."""
    with reported_errors():
        from vision_line.cli.fleet import apply

        apply(plant, tuple(fleet), key, seed, dry_run=dry_run, new_key=new_key)


@fleet_cli.command("status")
def show_fleet(fleet: Servers, seed: Seed = None, as_json: AsJson = False) -> None:
    """Show which box inspects what, and whether all cameras would be inspected if any one box died."""
    with reported_errors():
        from vision_line.cli.fleet import show_status

        raise typer.Exit(show_status(tuple(fleet), seed, as_json=as_json))


@fleet_cli.command("why")
def show_why(
    camera: Annotated[str, typer.Argument(metavar="CAMERA", help="Name of the camera.")],
    fleet: Servers,
    seed: Seed = None,
) -> None:
    """Show who inspects a camera, and why no other box does."""
    with reported_errors():
        from vision_line.cli.fleet import show_why

        show_why(camera, tuple(fleet), seed)


@fleet_cli.command("drain")
def drain_node(
    node: Annotated[str, typer.Argument(metavar="NODE", help="Name of the box.")],
    fleet: Servers,
    seed: Seed = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let it have cameras again.")] = False,
) -> None:
    """Give a box's cameras to others, before it is updated or switched off; wait until that is done."""
    with reported_errors():
        from vision_line.cli.fleet import drain

        drain(node, tuple(fleet), seed, undo=undo)


@fleet_cli.command("user")
def show_user(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The seed; made if it is not there.")],
    node: Annotated[
        str | None, typer.Option("--node", metavar="NAME", help="The box whose key it is. Default: the operator's.")
    ] = None,
) -> None:
    """Make the key by which the store's servers know a box or the operator, and print what they need of it."""
    with reported_errors():
        from vision_line.cli.fleet import show_user

        show_user(file, node)
