# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands and their options; each hands over to its own module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from vision_line import __version__
from vision_line.capacity.constants import Codec
from vision_line.cli.case_commands import case_cli
from vision_line.cli.challenge_commands import challenge_cli
from vision_line.cli.database_commands import database_cli
from vision_line.cli.desk_commands import desk_cli
from vision_line.cli.error_report import reported_errors
from vision_line.cli.fleet_commands import fleet_cli
from vision_line.cli.lanes_commands import lanes_cli
from vision_line.cli.lots_commands import lots_cli
from vision_line.cli.node_commands import node_cli
from vision_line.cli.outputs_commands import outputs_cli
from vision_line.cli.recipes_commands import recipes_cli
from vision_line.cli.reinspect_commands import reinspect
from vision_line.cli.report_commands import report
from vision_line.cli.reviews_commands import reviews_cli
from vision_line.cli.shared_options import (
    DEVICE,
    MORE,
    RECORDS,
    AllowFailedGates,
    AsJson,
    Cameras,
    Record,
    RecordOfLine,
    Since,
    Until,
)
from vision_line.cli.ship_commands import ship_cli
from vision_line.cli.standard_streams import prepare_standard_streams, watched_output
from vision_line.commands import CarefulTyper, refuse_unheard
from vision_line.parts.part import PartVerdict
from vision_line.records.columns import Table
from vision_line.records.table_export import Format

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

_MODEL = "Model: a bundle folder or an ONNX file."
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
        Path | None, typer.Option("--model", metavar="PATH", help=f"{_MODEL} Default: as in streams.toml.")
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
    model: Annotated[Path | None, typer.Option("--model", metavar="PATH", help=_MODEL)] = None,
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


@cli.command()
def export(
    record: Record = RECORDS,
    table: Annotated[Table, typer.Option("--table", help="Table to export.")] = Table.EVENTS,
    format_: Annotated[Format, typer.Option("--format", help="File format.")] = Format.CSV,
    since: Since = None,
    until: Until = None,
    camera: Cameras = [],  # noqa: B006 - typer copies it
    class_: Annotated[list[str], typer.Option("--class", metavar="NAME", help=f"Only this class{MORE}")] = [],  # noqa: B006 - the same
    verdict: Annotated[list[PartVerdict], typer.Option("--verdict", help=f"Only this verdict{MORE}")] = [],  # noqa: B006 - the same
    lot: Annotated[list[str], typer.Option("--lot", metavar="LOT", help=f"Only what is of this lot{MORE}")] = [],  # noqa: B006 - the same
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Output file; - is standard output. Default: TABLE.FORMAT."
        ),
    ] = None,
) -> None:
    """Export records to a file, also during a run."""
    with reported_errors():
        from vision_line.cli.export import export_table, selected

        export_table(record, table, format_, selected(since, until, camera, class_, verdict, lot), output)


@cli.command()
def prune(
    record: Record = RECORDS,
    keep_days: Annotated[
        int | None, typer.Option("--keep-days", metavar="N", min=1, help="Remove rows older than N days.")
    ] = None,
    max_mb: Annotated[
        int | None,
        typer.Option(
            "--max-mb", metavar="N", min=1, help="Remove the oldest rows until the database has at most N MB."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
    signing_key: Annotated[
        Path | None,
        typer.Option("--signing-key", metavar="FILE", help="Private key (PEM) of the records' seals, if signed."),
    ] = None,
) -> None:
    """Remove old records while no run uses them. A run removes by itself: keys keep_days and max_mb of streams.toml."""
    with reported_errors():
        from vision_line.cli.prune import prune_records

        prune_records(record, keep_days, max_mb, signing_key, dry_run=dry_run)


@cli.command()
def verify(
    record: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the records.")] = Path("records"),
    pictures: Annotated[bool, typer.Option("--pictures", help="Check the evidence images and clips too.")] = False,
    head: Annotated[
        str | None,
        typer.Option("--head", metavar="HASH", help="Head that was kept elsewhere: the journal must hold it."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="Public key (PEM) that signs the journal's seals.")
    ] = None,
) -> None:
    """Check that records are what was written, also during a run. Exit code 5: they are not."""
    with reported_errors():
        from vision_line.cli.verify import verify_records

        verify_records(record, head, key, pictures=pictures)


@cli.command()
def feed(
    record: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the records.")] = Path("records"),
    camera: Annotated[
        list[str], typer.Option("--camera", metavar="NAME", help=f"Show frames and results of this camera{MORE}")
    ] = [],  # noqa: B006 - typer copies it
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="S", min=0.1, help="Stop after S seconds. Default: at Ctrl-C.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Output as JSON, a message a line.")] = False,
) -> None:
    """Show what a run says to other programs: its state, events as they are decided, commits."""
    with reported_errors():
        from vision_line.cli.feed import show_feed

        show_feed(record, camera, duration, as_json=as_json)


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


@cli.command()
def doctor(
    record: RecordOfLine = None,
    streams: Annotated[
        Path | None,
        typer.Option(
            "--streams", metavar="FILE", help="Prove each model of this streams.toml, and check its folder of records."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what this machine has for inspection, what is missing, and how to install it."""
    with reported_errors():
        from vision_line.cli.doctor import show_diagnosis

        raise typer.Exit(show_diagnosis(record, streams, as_json=as_json))


@cli.command()
def selftest(
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Device to test: auto, cpu, cuda or cuda:1.")
    ] = "auto",
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help=f"{_MODEL} Default: the shipped one.")
    ] = None,
    streams: Annotated[
        Path | None,
        typer.Option("--streams", metavar="FILE", help="Test each model of this file, also those of its recipes."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write a JSON report to this file, after each check.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Write one archive to send to the developers, into this folder.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", metavar="S", min=0.5, max=3600, help="Length of each load test. Default: 10."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run shorter tests on less data.")] = False,
) -> None:
    """Test that a device finds the same as the CPU, and measure its speed. Exit code 4: a check failed."""
    with reported_errors():
        from vision_line.cli.selftest import ModelsToTest, Outputs, show_selftest

        outputs = Outputs(json_file, is_report=report)
        raise typer.Exit(show_selftest(device, ModelsToTest(model, streams), outputs, seconds, quick=quick))


@cli.command()
def bench(
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write it for `vision-line node --capacity`.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Device to measure: auto, cpu, cuda or cuda:1.")
    ] = "auto",
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help=f"{_MODEL} Default: the shipped one.")
    ] = None,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Frame size of the cameras.")] = "1920x1080",
    fps: Annotated[float, typer.Option("--fps", min=1, max=240, help="Frames per second of each camera.")] = 25.0,
    codec: Annotated[str, typer.Option("--codec", help="Codec of the cameras: h264 or hevc.")] = "h264",
    inspect_fps: Annotated[
        float, typer.Option("--inspect-fps", metavar="F", min=0.1, help="Inspections per second of each.")
    ] = 5.0,
    latency_ms: Annotated[
        float, typer.Option("--latency-ms", min=1, help="What 99 of 100 inspections must keep.")
    ] = 180.0,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.5, max=600, help="Length of each load test.")
    ] = 5.0,
) -> None:
    """Measure how many cameras of one kind this box inspects in time: what the planner of its fleet must know."""
    with reported_errors():
        from vision_line.cli.bench import write_capacity
        from vision_line.cli.capacity import parse_size
        from vision_line.selftest.camera_count import CameraKind

        write_capacity(device, model, CameraKind(parse_size(size), fps, codec, inspect_fps, latency_ms), seconds, write)


@cli.command()
def capacity(
    gpu: Annotated[str, typer.Option("--gpu", metavar="NAME", help='GPU model, such as "RTX 3060".')],
    cameras: Annotated[int, typer.Option("--cameras", min=1, max=10_000, help="Number of cameras.")] = 16,
    codec: Annotated[Codec, typer.Option("--codec", help="Codec of the cameras.")] = Codec.H264,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Frame size.")] = "1920x1080",
    fps: Annotated[float, typer.Option("--fps", min=0.1, max=1000, help="Frames per second of each camera.")] = 25.0,
    inspect_fps: Annotated[
        float | None,
        typer.Option(
            "--inspect-fps", metavar="F", min=0.1, help="Inspections per second of each. Default: all frames."
        ),
    ] = None,
    model_cost: Annotated[
        list[float],
        typer.Option("--model-cost", min=0.01, max=1000, help=f"Inference time relative to YOLOv8n at 640x640{MORE}"),
    ] = [1.0],  # noqa: B006 - the same
    latency_ms: Annotated[
        float, typer.Option("--latency-ms", min=1, help="Highest mean latency that is acceptable.")
    ] = 180.0,
    host_cores: Annotated[int, typer.Option("--host-cores", min=1, help="CPU cores of the host.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Estimate how many cameras a GPU can handle, and at what latency. A calculation, not a measurement."""
    with reported_errors():
        from vision_line.capacity.estimate import Scenario
        from vision_line.capacity.gpus import find_gpu
        from vision_line.cli.capacity import parse_size, show_estimate

        scenario = Scenario(
            gpu=find_gpu(gpu),
            cameras=cameras,
            codec=codec,
            size_wh=parse_size(size),
            fps=fps,
            inspect_fps=inspect_fps,
            model_cost=max(model_cost),
            models=len(model_cost),
            latency_s=latency_ms / 1000,
            host_cores=host_cores,
        )
        show_estimate(scenario, as_json=as_json)


@cli.command()
def schema() -> None:
    """Print the JSON schema of streams.toml."""
    import json

    from vision_line.config.models import Config

    sys.stdout.write(json.dumps(Config.model_json_schema(), indent=2) + "\n")
