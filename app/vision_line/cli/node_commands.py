# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line node` with its options; it hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.commands import CarefulTyper

node_cli = CarefulTyper()

Servers = Annotated[
    list[str],
    typer.Option(
        "--fleet",
        metavar="URL",
        envvar="VISION_LINE_FLEET",
        help="A server of the fleet's store, nats:// or tls://; give each of them.",
    ),
]
Seed = Annotated[
    Path | None,
    typer.Option(
        "--seed",
        metavar="FILE",
        envvar="VISION_LINE_SEED",
        help="The nkey seed by which servers know this box.",
    ),
]


@node_cli.command("node")
def node(
    fleet: Servers,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The operator's public key (PEM).")],
    capacity: Annotated[
        Path, typer.Option("--capacity", metavar="FILE", help="What this box can do, as JSON (docs/plant.md).")
    ],
    name: Annotated[
        str | None, typer.Option("--node", metavar="NAME", help="Name of this box. Default: its host name.")
    ] = None,
    label: Annotated[
        list[str], typer.Option("--label", metavar="LABEL", help="What cameras ask for; may be given more than once.")
    ] = [],  # noqa: B006 - typer copies it
    address: Annotated[str, typer.Option("--address", metavar="URL", help="Where people find its desk.")] = "",
    seed: Seed = None,
    keep: Annotated[
        Path, typer.Option("--keep", metavar="FILE", help="What it keeps for a restart without the store.")
    ] = Path("fleet.json"),
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help="Model. Default: as in plant.toml.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Device. Default: as in plant.toml.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="DIR", help="Folder for records. Default: as in plant.toml.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Print status lines instead of the dashboard.")] = False,
) -> None:
    """Inspect the cameras that the fleet gives to this box, until Ctrl-C."""
    with reported_errors():
        from vision_line.cli.node import NodeOptions, run_node

        options = NodeOptions(
            servers=tuple(fleet),
            key=key,
            capacity=capacity,
            name=name,
            labels=frozenset(label),
            address=address,
            seed=seed,
            keep=keep,
            model=model,
            device=device,
            record=record,
            headless=headless,
        )
        raise typer.Exit(run_node(options))
