# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line challenge` with its commands and options; each hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import AllowFailedGates, RecordOfLine
from vision_line.commands import CarefulTyper

challenge_cli = CarefulTyper(
    name="challenge",
    help="Pass known parts, and see what the line finds of them (challenge.toml).",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Target = Annotated[str, typer.Argument(metavar="CAMERA_OR_STATION", help="What is challenged, as in challenge.toml.")]
Streams = Annotated[
    Path, typer.Option("--streams", metavar="FILE", help="The streams.toml of the line; challenge.toml is beside it.")
]
STREAMS = Path("streams.toml")


@challenge_cli.command("start")
def start(
    target: Target,
    streams: Streams = STREAMS,
    record: RecordOfLine = None,
    interval: Annotated[
        float | None,
        typer.Option("--interval", metavar="S", min=0.5, max=3600, help="Go on to the next part every S seconds."),
    ] = None,
) -> None:
    """Begin a challenge. In a terminal, Enter goes on to the next part; else use next, end and abort."""
    with reported_errors():
        from vision_line.cli.challenge import ChallengedLine, start_challenge

        raise typer.Exit(start_challenge(ChallengedLine.read(streams, record), target, interval))


@challenge_cli.command("next")
def go_on(target: Target, streams: Streams = STREAMS, record: RecordOfLine = None) -> None:
    """Begin the turn of the next part, before it is laid down."""
    with reported_errors():
        from vision_line.cli.challenge import ChallengedLine, next_turn

        next_turn(ChallengedLine.read(streams, record), target)


@challenge_cli.command("end")
def end(target: Target, streams: Streams = STREAMS, record: RecordOfLine = None) -> None:
    """End a challenge after its last part has gone by, and show the result. Exit codes as of status."""
    with reported_errors():
        from vision_line.cli.challenge import ChallengedLine, end_challenge

        raise typer.Exit(end_challenge(ChallengedLine.read(streams, record), target))


@challenge_cli.command("abort")
def abort(
    target: Target,
    streams: Streams = STREAMS,
    record: RecordOfLine = None,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Is entered with it.")] = "",
) -> None:
    """Break a challenge off. It shows nothing, and what was passed stays out of production figures."""
    with reported_errors():
        from vision_line.cli.challenge import ChallengedLine, abort_challenge

        abort_challenge(ChallengedLine.read(streams, record), target, why)


@challenge_cli.command("replay")
def replay(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="[FILE ...]", help="Clips of challenge.toml; default: all of them."),
    ] = [],  # noqa: B006 - typer copies it
    streams: Streams = STREAMS,
    record: RecordOfLine = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help="Model. Default: as in streams.toml.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help="Device. Default: as in streams.toml.")
    ] = None,
    allow_failed_gates: AllowFailedGates = False,
) -> None:
    """Inspect recorded clips: tests the software, not optics. Exit code 0: passed; 6: shows too little; 7: failed."""
    with reported_errors():
        from vision_line.cli.challenge import ChallengedLine
        from vision_line.cli.challenge_replay import ReplayOptions, replay_clips

        options = ReplayOptions(files, model, device, allow_failed_gates)
        raise typer.Exit(replay_clips(ChallengedLine.read(streams, record), options))


@challenge_cli.command("status")
def status(streams: Streams = STREAMS, record: RecordOfLine = None) -> None:
    """Show what is due. Exit code 0: nothing; 6: a challenge is overdue; 7: one failed."""
    with reported_errors():
        from vision_line.cli.challenge import ChallengedLine, show_status

        raise typer.Exit(show_status(ChallengedLine.read(streams, record)))


@challenge_cli.command("results")
def results(
    streams: Streams = STREAMS,
    record: RecordOfLine = None,
    days: Annotated[
        float, typer.Option("--days", metavar="N", min=0.01, max=3660, help="Pool the challenges of so many days.")
    ] = 30.0,
) -> None:
    """Show results with what they can show at all: each challenge, and all of a target pooled."""
    with reported_errors():
        from vision_line.cli.challenge import ChallengedLine, show_results

        show_results(ChallengedLine.read(streams, record), days)
