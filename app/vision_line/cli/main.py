# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands and their options; each hands over to its own module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vision_line import __version__
from vision_line.cli.case_commands import case_cli
from vision_line.cli.challenge_commands import challenge_cli
from vision_line.cli.database_commands import database_cli
from vision_line.cli.desk_commands import desk_cli
from vision_line.cli.error_report import reported_errors
from vision_line.cli.fleet_commands import fleet_cli
from vision_line.cli.lanes_commands import lanes_cli
from vision_line.cli.lots_commands import lots_cli
from vision_line.cli.machine_commands import bench, capacity, doctor, selftest
from vision_line.cli.node_commands import node_cli
from vision_line.cli.outputs_commands import outputs_cli
from vision_line.cli.recipes_commands import recipes_cli
from vision_line.cli.records_commands import export, feed, prune, verify
from vision_line.cli.reinspect_commands import reinspect
from vision_line.cli.report_commands import report
from vision_line.cli.reviews_commands import reviews_cli
from vision_line.cli.shared_options import (
    DEVICE,
    MODEL,
    AllowFailedGates,
)
from vision_line.cli.ship_commands import ship_cli
from vision_line.cli.standard_streams import prepare_standard_streams, watched_output
from vision_line.commands import CarefulTyper, refuse_unheard

EXIT_CODES = (
    "Exit codes: 0 success; 2 wrong options or configuration; 3 model or device not usable; 4 failed while running;"
    " 5 records are not what was written; 6 a challenge is overdue; 7 it failed; 130 interrupted; 141 output closed."
)

cli = CarefulTyper(
    name="vision-line",
    help="Inspect the cameras of a production line in real time. " + EXIT_CODES,
    no_args_is_help=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

cli.add_typer(desk_cli)
cli.add_typer(case_cli)
cli.add_typer(reviews_cli)
cli.add_typer(challenge_cli)
cli.add_typer(outputs_cli)
cli.add_typer(lanes_cli)
cli.add_typer(recipes_cli)
cli.add_typer(lots_cli)
cli.add_typer(node_cli)
cli.add_typer(fleet_cli)
cli.add_typer(database_cli)
cli.add_typer(ship_cli)

_DESK_ADDRESS = "127.0.0.1:8080"

StreamsFile = Annotated[Path, typer.Argument(metavar="FILE", help="The streams.toml to check.")]


def main() -> None:
    """Run the command line and exit with its code."""
    prepare_standard_streams()
    with watched_output():
        cli()


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"vision-line {__version__}")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def inspect(
    context: typer.Context,
    streams: Annotated[
        Path | None, typer.Option("--streams", metavar="FILE", help="Inspect the cameras of this streams.toml.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help=f"{MODEL} Default: as in streams.toml.")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="NAME", help=f"{DEVICE} Default: as in streams.toml.")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="S", min=0.1, help="Stop after S seconds of inspection."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Print status lines instead of the dashboard.")] = False,
    summary: Annotated[
        Path | None, typer.Option("--summary", metavar="FILE", help="Write a JSON summary; - is standard output.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="DIR", help="Folder for records. Default: as in streams.toml.")
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option("--overlay", metavar="DIR", help="Write annotated videos to this folder.")
    ] = None,
    cameras: Annotated[
        int | None,
        typer.Option("--cameras", metavar="N", min=1, help="Inspect only the first N cameras of the file."),
    ] = None,
    allow_failed_gates: AllowFailedGates = False,
    desk: Annotated[
        bool, typer.Option("--desk", help="Show the records in a browser meanwhile, as vision-line desk does.")
    ] = False,
    desk_listen: Annotated[
        str | None,
        typer.Option(
            "--desk-listen", metavar="ADDRESS", help=f"Where --desk listens on this machine. Default: {_DESK_ADDRESS}."
        ),
    ] = None,
    with_outputs: Annotated[
        bool,
        typer.Option("--outputs", help="Tell other systems meanwhile what is recorded, as vision-line outputs does."),
    ] = False,
    with_lanes: Annotated[
        bool, typer.Option("--lanes", help="Decide meanwhile the parts that pass, as vision-line lanes does.")
    ] = False,
    with_shipping: Annotated[
        bool, typer.Option("--ship", help="Ship the records meanwhile to a central database, as vision-line ship does.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Inspect the cameras of a streams.toml until Ctrl-C; a second Ctrl-C does not wait for results."""
    if context.invoked_subcommand is not None:
        return
    if streams is None:
        _refuse_without_streams(context)
        typer.echo(context.get_help())
        raise typer.Exit
    if desk_listen is not None and not desk:
        raise typer.BadParameter("expected together with --desk", param_hint="--desk-listen")
    with reported_errors():
        from vision_line.cli.run import run
        from vision_line.runtime.options import RunOptions

        options = RunOptions(
            streams=streams,
            model=model,
            device=device,
            duration_s=duration,
            headless=headless,
            summary=summary,
            record=record,
            overlay=overlay,
            cameras=cameras,
            allow_failed_gates=allow_failed_gates,
        )
        raise typer.Exit(
            run(
                options,
                (desk_listen or _DESK_ADDRESS) if desk else None,
                with_outputs=with_outputs,
                with_lanes=with_lanes,
                with_shipping=with_shipping,
            )
        )


def _refuse_without_streams(context: typer.Context) -> None:
    """Refuse options of a run without its cameras: who wrote them waits for an inspection, not for the help."""
    sources = map(context.get_parameter_source, context.params)
    if any(source is not None and source.name == "COMMANDLINE" for source in sources):
        raise typer.BadParameter("expected with the options of a run, found none", param_hint="--streams")


@cli.command()
def check(
    file: StreamsFile,
    model: Annotated[Path | None, typer.Option("--model", metavar="PATH", help=MODEL)] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="NAME", help=DEVICE)] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Open each camera and show what it sends; send each output a test message.")
    ] = False,
    allow_failed_gates: AllowFailedGates = False,
) -> None:
    """Report the problems of a streams.toml at once. Exit code 2: there is one."""
    with reported_errors():
        from vision_line.cli.check import check_file
        from vision_line.runtime.options import RunOptions

        options = RunOptions(file, model=model, device=device, allow_failed_gates=allow_failed_gates)
        raise typer.Exit(check_file(options, probe=probe))


@cli.command()
def init(
    context: typer.Context,
    cameras: Annotated[
        list[str],
        typer.Argument(metavar="[FILE.toml] [CAMERA ...]", help="The file to write; URLs or addresses of cameras."),
    ] = [],  # noqa: B006 - typer copies it
    listed: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take cameras from this file, one a line; - is standard input."),
    ] = None,
    search: Annotated[bool, typer.Option("--discover", help="Search the network for ONVIF cameras.")] = False,
    snapshots: Annotated[
        Path | None, typer.Option("--snapshots", metavar="DIR", help="Write a frame of each camera to this folder.")
    ] = None,
    no_probe: Annotated[bool, typer.Option("--no-probe", help="Do not open the cameras.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Write a streams.toml for your cameras, and say what to change in them. Exit code 2: one cannot be opened."""
    if no_probe:
        refuse_unheard(context, ("snapshots",), "with --no-probe: nobody opens the cameras to see a frame")
    with reported_errors():
        from vision_line.cli.init import write_first_file
        from vision_line.cli.init_cameras import InitOptions

        options = InitOptions(tuple(cameras), listed, search, not no_probe, snapshots, force)
        raise typer.Exit(write_first_file(options))


cli.command()(export)
cli.command()(prune)
cli.command()(verify)
cli.command()(feed)
cli.command()(report)
cli.command()(reinspect)


@cli.command()
def capture(
    streams: Annotated[Path, typer.Option("--streams", metavar="FILE", help="Capture from the cameras of this file.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="New or empty folder for the images.")],
    images: Annotated[int, typer.Option("--images", min=1, max=100_000, help="Total number of images.")] = 300,
    duration: Annotated[
        float, typer.Option("--duration", metavar="S", min=1.0, help="Spread the images over S seconds.")
    ] = 600.0,
    quality: Annotated[
        int | None, typer.Option("--quality", metavar="Q", min=1, max=100, help="JPEG quality. Default: lossless PNG.")
    ] = None,
    max_mb: Annotated[int, typer.Option("--max-mb", metavar="N", min=1, help="Stop when the images take N MB.")] = 2000,
) -> None:
    """Save frames of the cameras as calibration images, spread evenly over cameras and time."""
    with reported_errors():
        from vision_line.capture.capture import CaptureOptions
        from vision_line.cli.capture import collect

        raise typer.Exit(collect(streams, CaptureOptions(output, images, duration, quality, max_mb)))


@cli.command()
def simulate(
    context: typer.Context,
    cameras: Annotated[int, typer.Option("--cameras", min=1, max=64, help="Number of cameras.")] = 16,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port.")] = 8554,
    listen: Annotated[
        str,
        typer.Option("--listen", metavar="IP", help="Address that other machines reach; 0.0.0.0: all of this one's."),
    ] = "127.0.0.1",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Random seed of boards and defects.")] = 1,
    sent_log: Annotated[
        Path | None, typer.Option("--sent-log", metavar="FILE", help="Log every frame that is sent to this file.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", min=0.1, help="Stop after S seconds. Default: at Ctrl-C.")
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option("--dataset", metavar="DIR", help="Write a training set to this folder, and serve nothing."),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=10, help="Number of images in the training set.")] = 2000,
) -> None:
    """Serve simulated cameras of a PCB line over RTSP, or write a labelled training set with --dataset."""
    if dataset is None:
        refuse_unheard(context, ("images",), "without --dataset: they are written there")
    else:
        serving = ("cameras", "port", "listen", "sent_log", "duration")
        refuse_unheard(context, serving, "with --dataset, which serves nothing")
    with reported_errors():
        from vision_line.cli.simulate import serve, write_training_set

        if dataset is not None:
            write_training_set(dataset, images, seed)
        else:
            raise typer.Exit(serve(cameras, (listen, port), seed, sent_log, duration))


cli.command()(doctor)
cli.command()(selftest)
cli.command()(bench)
cli.command()(capacity)


@cli.command()
def schema() -> None:
    """Print the JSON schema of streams.toml."""
    import json

    from vision_line.config.models import Config

    sys.stdout.write(json.dumps(Config.model_json_schema(), indent=2) + "\n")
