# SPDX-License-Identifier: AGPL-3.0-or-later
"""The commands and their options; each hands over to its own module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vision_line import __version__
from vision_line.capacity.constants import Codec
from vision_line.cli.standard_streams import prepare_standard_streams, watched_output
from vision_line.commands import CarefulTyper
from vision_line.errors import ExitCode, VisionLineError
from vision_line.frames import Verdict
from vision_line.records.columns import Table
from vision_line.records.export import Format
from vision_line.screens.lines import say

EXIT_CODES = (
    "Exit codes: 0 done; 2 configuration or options, or what check found; 3 model or device unusable; 4 failed while"
    " running; 130 interrupted; 141 the output was closed."
)

cli = CarefulTyper(
    name="vision-line",
    help="Inspect many RTSP cameras over a factory line in real time. " + EXIT_CODES,
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_MORE = "; may be given again for more."

AllowFailedGates = Annotated[
    bool, typer.Option("--allow-failed-gates", help="Inspect with a model that did not pass its recipe's gates.")
]
StreamsFile = Annotated[Path, typer.Argument(metavar="FILE", help="The streams.toml.")]
Record = Annotated[Path, typer.Option("--record", metavar="DIR", help="The folder with the records.")]


def main() -> None:
    """Run the command line and exit with its code."""
    prepare_standard_streams()
    with watched_output():
        cli()


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn an expected error into its message on stderr and its exit code; bugs keep their traceback."""
    try:
        yield
    except VisionLineError as exc:
        say(f"vision-line: {exc}", sys.stderr)
        raise typer.Exit(exc.exit_code) from exc
    except KeyboardInterrupt as exc:
        raise typer.Exit(ExitCode.INTERRUPTED) from exc


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"vision-line {__version__}")
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def inspect(
    context: typer.Context,
    streams: Annotated[Path | None, typer.Option("--streams", metavar="FILE", help="The cameras.")] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help="A bundle folder or an ONNX file.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:all")] = None,
    duration: Annotated[
        float | None,
        typer.Option("--duration", metavar="S", min=0.1, help="End by itself, so long after the device is ready."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Status lines instead of the dashboard.")] = False,
    summary: Annotated[Path | None, typer.Option("--summary", metavar="JSON", help="Write totals here.")] = None,
    record: Annotated[Path | None, typer.Option("--record", metavar="DIR", help="Default: ./records")] = None,
    overlay: Annotated[Path | None, typer.Option("--overlay", metavar="DIR", help="Annotated videos go here.")] = None,
    cameras: Annotated[
        int | None,
        typer.Option("--cameras", metavar="N", min=1, help="Inspect only the first N of the file's cameras."),
    ] = None,
    allow_failed_gates: AllowFailedGates = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Inspect the cameras of a streams.toml until Ctrl-C: the first one drains, the second does not wait."""
    if context.invoked_subcommand is not None:
        return
    if streams is None:
        typer.echo(context.get_help())
        raise typer.Exit
    with reported_errors():
        from vision_line.app.program import RunOptions
        from vision_line.cli.running import run

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
        raise typer.Exit(run(options))


@cli.command()
def check(
    file: StreamsFile,
    model: Annotated[Path | None, typer.Option("--model", metavar="PATH", help="As the run will be given.")] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="NAME", help="As the run will be given.")] = None,
    probe: Annotated[bool, typer.Option("--probe", help="Open each camera too, and say what it sends.")] = False,
    allow_failed_gates: AllowFailedGates = False,
) -> None:
    """Report at once all that a run of a streams.toml would refuse; with --probe, try its cameras too."""
    with reported_errors():
        from vision_line.app.program import RunOptions
        from vision_line.cli.checking import check_file

        options = RunOptions(file, model=model, device=device, allow_failed_gates=allow_failed_gates)
        raise typer.Exit(check_file(options, probe=probe))


@cli.command()
def export(
    record: Record = Path("records"),
    table: Annotated[Table, typer.Option("--table", help="What to export.")] = Table.EVENTS,
    format_: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.CSV,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="UTC time or age: 2h, 30m.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="UTC time or age.")] = None,
    camera: Annotated[list[str], typer.Option("--camera", metavar="NAME", help=f"Only this camera{_MORE}")] = [],  # noqa: B006
    class_: Annotated[list[str], typer.Option("--class", metavar="NAME", help=f"Only this class{_MORE}")] = [],  # noqa: B006
    verdict: Annotated[list[Verdict], typer.Option("--verdict", help=f"Only this verdict{_MORE}")] = [],  # noqa: B006
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to; - is the standard output.")
    ] = None,
) -> None:
    """Export the detection log for QA, also while the line runs."""
    with reported_errors():
        from vision_line.cli.exporting import export_table, selected

        export_table(record, table, format_, selected(since, until, camera, class_, verdict), output)


@cli.command()
def prune(
    record: Record = Path("records"),
    keep_days: Annotated[
        int | None, typer.Option("--keep-days", metavar="N", min=1, help="Remove what is older.")
    ] = None,
    max_mb: Annotated[
        int | None, typer.Option("--max-mb", metavar="N", min=1, help="Remove the oldest of a larger record file.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
) -> None:
    """Remove old records from a folder that no run uses; a run does so by itself (keys keep_days, max_mb)."""
    with reported_errors():
        from vision_line.cli.pruning import prune_records

        prune_records(record, keep_days, max_mb, dry_run=dry_run)


@cli.command()
def capture(
    streams: Annotated[Path, typer.Option("--streams", metavar="FILE", help="The cameras.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="A new or empty folder.")],
    images: Annotated[
        int, typer.Option("--images", min=1, max=100_000, help="Pictures of all cameras together.")
    ] = 300,
    duration: Annotated[float, typer.Option("--duration", metavar="S", min=1.0, help="Spread over so long.")] = 600.0,
    quality: Annotated[
        int | None, typer.Option("--quality", metavar="Q", min=1, max=100, help="JPEG of this quality; default: PNG.")
    ] = None,
    max_mb: Annotated[int, typer.Option("--max-mb", metavar="MB", min=1, help="Disk space for pictures.")] = 2000,
) -> None:
    """Collect calibration pictures from the cameras, spread over cameras and time; says what it stores."""
    with reported_errors():
        from vision_line.app.capture import CaptureOptions
        from vision_line.cli.capturing import collect

        raise typer.Exit(collect(streams, CaptureOptions(output, images, duration, quality, max_mb)))


@cli.command()
def simulate(
    cameras: Annotated[int, typer.Option("--cameras", min=1, max=64, help="How many.")] = 16,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="The loopback port.")] = 8554,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which boards are drawn.")] = 1,
    sent_log: Annotated[Path | None, typer.Option("--sent-log", metavar="FILE", help="Log each frame sent.")] = None,
    duration: Annotated[float | None, typer.Option("--duration", metavar="S", min=0.1, help="End by itself.")] = None,
    dataset: Annotated[
        Path | None, typer.Option("--dataset", metavar="DIR", help="Write a training set instead of serving.")
    ] = None,
    images: Annotated[int, typer.Option("--images", min=10, help="Pictures of the training set.")] = 2000,
) -> None:
    """Serve virtual cameras over a drawn PCB line as RTSP, or write a labelled training set of it."""
    with reported_errors():
        from vision_line.cli.simulating import serve, write_training_set

        if dataset is not None:
            write_training_set(dataset, images, seed)
        else:
            raise typer.Exit(serve(cameras, port, seed, sent_log, duration))


@cli.command()
def doctor(
    record: Record = Path("records"),
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what this machine offers, what that means for inspection, and what to install."""
    with reported_errors():
        from vision_line.cli.diagnosing import show_diagnosis

        raise typer.Exit(show_diagnosis(record, as_json=as_json))


@cli.command()
def selftest(
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help="A bundle folder or an ONNX file.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="To be sent to us.")] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", min=0.5, max=3600, help="Of each load; default: 10.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A first look: less of everything.")] = False,
) -> None:
    """Check on this machine that the device inspects as the CPU does, and measure it; exit code 4: a check failed."""
    with reported_errors():
        from vision_line.cli.selftesting import show_selftest

        raise typer.Exit(show_selftest(device, model, json_file, seconds, quick=quick))


@cli.command()
def capacity(
    gpu: Annotated[str, typer.Option("--gpu", metavar="NAME", help='Such as "RTX 3060".')],
    cameras: Annotated[int, typer.Option("--cameras", min=1, max=10_000, help="How many.")] = 16,
    codec: Annotated[Codec, typer.Option("--codec", help="What they send.")] = Codec.H264,
    size: Annotated[str, typer.Option("--size", metavar="WxH", help="Their pictures.")] = "1920x1080",
    fps: Annotated[float, typer.Option("--fps", min=0.1, max=1000, help="Frames a second of each.")] = 25.0,
    inspect_fps: Annotated[
        float | None, typer.Option("--inspect-fps", metavar="F", min=0.1, help="Inspections a second of each.")
    ] = None,
    model_cost: Annotated[
        float,
        typer.Option("--model-cost", min=0.01, max=1000, help="Engine time of an image; YOLOv8n at 640x640 is 1."),
    ] = 1.0,
    latency_ms: Annotated[float, typer.Option("--latency-ms", min=1, help="What the mean may be.")] = 180.0,
    host_cores: Annotated[int, typer.Option("--host-cores", min=1, help="CPU cores of the host.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Calculate how many cameras a GPU takes, what runs out first and how late results are: a model, no measurement."""
    with reported_errors():
        from vision_line.cli.estimating import Question, show_estimate

        question = Question(gpu, cameras, codec, size, fps, inspect_fps, model_cost, latency_ms, host_cores)
        show_estimate(question, as_json=as_json)


@cli.command()
def schema() -> None:
    """Print the JSON schema of streams.toml."""
    import json

    from vision_line.config.models import Config

    sys.stdout.write(json.dumps(Config.model_json_schema(), indent=2) + "\n")
