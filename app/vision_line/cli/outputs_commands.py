# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line outputs` and what is below it, with their options; each hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import MORE, RECORDS, AsJson, Cameras, Record, RecordOfLine
from vision_line.commands import CarefulTyper, refuse_unheard
from vision_line.parts.part import PartVerdict

#: What is asked of `--events` alone, by the parameters' names.
_OF_EVENTS = ("since", "kind", "camera", "class_", "verdict", "lane", "once")

outputs_cli = CarefulTyper(name="outputs", no_args_is_help=False, rich_markup_mode="rich")


@outputs_cli.callback(invoke_without_command=True)
def outputs(
    context: typer.Context,
    streams: Annotated[
        Path | None, typer.Option("--streams", metavar="FILE", help="Send as the outputs of this streams.toml say.")
    ] = None,
    record: RecordOfLine = None,
    events: Annotated[
        str | None,
        typer.Option("--events", metavar="-", help="Print messages as JSON lines instead; - is standard output."),
    ] = None,
    since: Annotated[
        str,
        typer.Option("--since", metavar="TIME", help="Where --events begins: now, all, a time, or the ids seen last."),
    ] = "now",
    kind: Annotated[list[str], typer.Option("--kind", metavar="KIND", help=f"Only this kind{MORE}")] = [],  # noqa: B006 - typer copies it
    camera: Cameras = [],  # noqa: B006 - the same
    class_: Annotated[list[str], typer.Option("--class", metavar="NAME", help=f"Only this class{MORE}")] = [],  # noqa: B006 - the same
    verdict: Annotated[list[PartVerdict], typer.Option("--verdict", help=f"Only this verdict{MORE}")] = [],  # noqa: B006 - the same
    lane: Annotated[list[str], typer.Option("--lane", metavar="NAME", help=f"Only parts of this lane{MORE}")] = [],  # noqa: B006 - the same
    once: Annotated[bool, typer.Option("--once", help="Have --events end when nothing more is there.")] = False,
) -> None:
    """Tell other systems what is recorded, also during a run: brokers, web servers, a pipe. Nothing is lost."""
    if context.invoked_subcommand is not None:
        return
    if events is None:
        refuse_unheard(context, _OF_EVENTS, "without --events: each [[output]] of the file says what it gets")
    else:
        refuse_unheard(context, ("streams",), "with --events, which needs no file: name the records with --record")
    with reported_errors():
        from vision_line.cli.outputs import print_events, serve_outputs
        from vision_line.outputs.json_lines import events_settings

        if events is not None:
            settings = events_settings(kind, camera, class_, list(map(str, verdict)), since, lane)
            print_events(record or RECORDS, events, settings, since, once=once)
            return
        raise typer.Exit(serve_outputs(streams, record))


@outputs_cli.command("status")
def show_status(
    record: Record = RECORDS,
    as_json: AsJson = False,
) -> None:
    """Show how far each output is, and what is wrong with it."""
    with reported_errors():
        from vision_line.cli.outputs import print_status

        print_status(record, as_json=as_json)


@outputs_cli.command("replay")
def replay(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The output's name.")],
    since: Annotated[
        str,
        typer.Option("--since", metavar="TIME", help="From this UTC time, or age such as 2h; all: all that is kept."),
    ],
    record: Record = RECORDS,
) -> None:
    """Have an output send again what it sent since then, now or at its next start."""
    with reported_errors():
        from vision_line.cli.outputs import ask_replay

        ask_replay(record, name, since)
