# SPDX-License-Identifier: AGPL-3.0-or-later
"""The `vision-line-compress` command. Heavy libraries are imported by the command that needs them: help is instant."""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vision_line import __version__
from vision_line.commands import CarefulTyper
from vision_line.errors import ConfigError, DeviceError, ExitCode, VisionLineError
from vision_line.packages import install_extra
from vision_line_compression.network.ultralytics_offline import keep_ultralytics_offline

if TYPE_CHECKING:
    from vision_line.devices.tensorrt.engine_choice import Precision
    from vision_line_compression.pipeline.commands import CompressionSession

EXIT_CODES = (
    "Exit codes: 0 success; 1 a quality gate failed; 2 wrong recipe, data set or options; 3 model or device not usable;"
    " 4 failed while running; 130 interrupted."
)
#: What the `compress` extra installs, by import name.
EXTRA_MODULES = frozenset(
    {"PIL", "jinja2", "onnx", "onnxruntime", "onnxslim", "torch", "torch_pruning", "torchvision", "ultralytics", "yaml"}
)

cli = CarefulTyper(
    name="vision-line-compress",
    help="Make a detection model smaller and faster, and measure what it still finds. " + EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe file (TOML).")]
Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", metavar="PT", help="Replaces parent.checkpoint of the recipe.")
]
Data = Annotated[Path | None, typer.Option("--data", metavar="YAML", help="Replaces data.yaml of the recipe.")]
MoreData = Annotated[
    list[Path],
    typer.Option(
        "--more-data",
        metavar="YAML",
        help="Add the train and val images of this data set, such as reviewed ones; may be given more than once.",
    ),
]
Work = Annotated[
    Path | None, typer.Option("--work", metavar="DIR", help="Folder for intermediate results. Default: runs/NAME.")
]


class EnginePrecision(StrEnum):
    """Which variant of the model `build` makes the engine of that runs."""

    AUTO = "auto"
    INT8 = "int8"
    FP16 = "fp16"


#: The variant that is asked for, None where it is to be decided.
WANTED: dict[EnginePrecision, Precision | None] = {
    EnginePrecision.AUTO: None,
    EnginePrecision.INT8: "int8",
    EnginePrecision.FP16: "fp16",
}


class EngineTarget(StrEnum):
    """What `build` makes engines for."""

    RTX = "rtx"
    TENSORRT = "tensorrt"


class LatencyTarget(StrEnum):
    """What `measure` measures."""

    CPU = "cpu"


def main() -> None:
    """Run the command line and exit with its code."""
    cli()


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn an expected error into its message on stderr and its exit code; bugs keep their traceback."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop interrupts too
    try:
        yield
    except VisionLineError as exc:
        typer.echo(f"vision-line-compress: {exc}", err=True)
        raise typer.Exit(exc.exit_code) from exc
    except BrokenPipeError:
        raise  # who reads the output has gone, which the command line itself answers
    except OSError as exc:  # a full disk, or no right to a file: nothing that a gate or a recipe is about
        file = "" if exc.filename is None else f"{exc.filename}: "
        typer.echo(f"vision-line-compress: {file}{exc.strerror or exc}", err=True)
        raise typer.Exit(ExitCode.FAILED) from exc
    except ModuleNotFoundError as exc:
        if exc.name not in EXTRA_MODULES:
            raise  # a fault of ours, not a missing extra
        message = f"the package {exc.name!r} is missing; {install_extra('compress')}"
        typer.echo(f"vision-line-compress: {message}", err=True)
        raise typer.Exit(DeviceError.exit_code) from exc
    except KeyboardInterrupt as exc:
        typer.echo("vision-line-compress: interrupted; the same command goes on from here", err=True)
        raise typer.Exit(ExitCode.INTERRUPTED) from exc
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"vision-line-compress {__version__}")
        raise typer.Exit


@cli.callback()
def prepare(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Prepare what all commands share."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    keep_ultralytics_offline()


def _opened(
    recipe: Path,
    checkpoint: Path | None,
    data: Path | None,
    work: Path | None,
    more: list[Path],
    *,
    trains_here: bool = True,
) -> CompressionSession:
    from vision_line_compression.pipeline.commands import open_session

    return open_session(recipe, checkpoint, data, work, more, trains_here=trains_here)


@cli.command()
def run(
    recipe: RecipeFile,
    checkpoint: Checkpoint = None,
    data: Data = None,
    work: Work = None,
    more: MoreData = [],  # noqa: B006 - typer copies it
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Share the work with a Ray cluster: auto, or HOST:PORT of it."),
    ] = None,
) -> None:
    """Run all stages of a recipe that are not done yet, and check the quality gates."""
    with reported_errors():
        if ray is not None:
            from vision_line.cluster.ray_cluster import check_address

            check_address(ray)
        session = _opened(recipe, checkpoint, data, work, more, trains_here=ray is None)
        if ray is not None:
            session.share(ray)
        session.pack()
        raise typer.Exit(session.report())


@cli.command()
def plan(
    recipe: RecipeFile,
    checkpoint: Checkpoint = None,
    data: Data = None,
    work: Work = None,
    more: MoreData = [],  # noqa: B006 - typer copies it
) -> None:
    """Plan which channels to prune. Writes plan.json and a chart for review."""
    with reported_errors():
        _opened(recipe, checkpoint, data, work, more).plan()


@cli.command()
def prune(
    recipe: RecipeFile,
    checkpoint: Checkpoint = None,
    data: Data = None,
    work: Work = None,
    more: MoreData = [],  # noqa: B006 - typer copies it
) -> None:
    """Prune the model as planned, and fine-tune it."""
    with reported_errors():
        _opened(recipe, checkpoint, data, work, more).prune()


@cli.command()
def distill(
    recipe: RecipeFile,
    checkpoint: Checkpoint = None,
    data: Data = None,
    work: Work = None,
    more: MoreData = [],  # noqa: B006 - typer copies it
) -> None:
    """Fine-tune the pruned model with a teacher model (distillation)."""
    with reported_errors():
        _opened(recipe, checkpoint, data, work, more).distill()


@cli.command()
def quantize(
    recipe: RecipeFile,
    checkpoint: Checkpoint = None,
    data: Data = None,
    work: Work = None,
    more: MoreData = [],  # noqa: B006 - typer copies it
) -> None:
    """Quantize the model to INT8, and write the bundle for `vision-line --model`."""
    with reported_errors():
        _opened(recipe, checkpoint, data, work, more).quantize()


@cli.command()
def report(
    recipe: RecipeFile,
    checkpoint: Checkpoint = None,
    data: Data = None,
    work: Work = None,
    more: MoreData = [],  # noqa: B006 - typer copies it
) -> None:
    """Evaluate every model of the recipe, and write the report card. Exit code 1: a quality gate failed."""
    with reported_errors():
        raise typer.Exit(_opened(recipe, checkpoint, data, work, more).report())


@cli.command()
def build(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    target: Annotated[
        EngineTarget,
        typer.Option("--target", help="rtx: for each --sm, on any machine. tensorrt: for the GPU of this machine."),
    ],
    sm: Annotated[
        str | None,
        typer.Option(
            "--sm", metavar="LIST", help="rtx only: compute capabilities without the dot. Default: 75,86,89,120."
        ),
    ] = None,
    precision: Annotated[
        EnginePrecision,
        typer.Option("--precision", help="tensorrt only: auto builds both, and keeps the faster one that passed."),
    ] = EnginePrecision.AUTO,
    float_onnx: Annotated[
        Path | None,
        typer.Option("--float", metavar="ONNX", help="tensorrt only: the float model. Default: beside the bundle."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="JSON", help="tensorrt only: the report card. Default: beside the bundle."),
    ] = None,
) -> None:
    """Build TensorRT engines of a bundle, in BUNDLE/engines."""
    with reported_errors():
        from vision_line_compression.engines.engine_build import DEFAULT_SMS, build_rtx_engines, build_tensorrt_engines
        from vision_line_compression.progress import ProgressDisplay

        screen = ProgressDisplay()
        if target is EngineTarget.RTX:
            if (precision, float_onnx, report) != (EnginePrecision.AUTO, None, None):
                raise ConfigError("--precision, --float, --report: expected with --target tensorrt only")
            for engine in build_rtx_engines(bundle, DEFAULT_SMS if sm is None else _capabilities(sm), screen.engine):
                typer.echo(str(engine))
            return
        if sm is not None:
            raise ConfigError("--sm: TensorRT builds for the GPU of this machine, expected it with --target rtx only")
        wanted = WANTED[precision]
        for built in build_tensorrt_engines(bundle, screen.engine, wanted=wanted, float_onnx=float_onnx, report=report):
            typer.echo(str(built.engine))
            if built.remark:
                typer.echo(built.remark, err=True)


@cli.command()
def measure(
    checkpoint: Annotated[Path, typer.Argument(metavar="PT", help="The checkpoint that is to be compressed.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="JSON", help="File of the table.")],
    shape: Annotated[
        str, typer.Option("--shape", metavar="HxW", help="Input shape: prune.size_hw of the recipe.")
    ] = "640x640",
    target: Annotated[LatencyTarget, typer.Option("--target", help="What is measured: cpu, this machine.")] = (
        LatencyTarget.CPU
    ),
) -> None:
    """Measure what a network's convolutions cost on this machine in INT8, for the budgets of recipes."""
    with reported_errors():
        from vision_line_compression.engines.latency_measure import measure_cpu
        from vision_line_compression.progress import ProgressDisplay

        size_hw = _shape(shape)
        with ProgressDisplay().stage(f"latency on {target.value}") as progress:
            table = measure_cpu(checkpoint, (640, 640) if size_hw is None else size_hw, progress)
        table.write(output)
        if table.network is not None:
            typer.echo(
                f"{table.target}: {table.network.int8_ms:.3g} ms in INT8, {table.network.float_ms:.3g} ms in float"
            )
        typer.echo(str(output))


@cli.command()
def half(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Bundle folder or ONNX file.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the new bundle.")],
) -> None:
    """Convert the float parts of a model to float16, and write a bundle for GPUs."""
    with reported_errors():
        from vision_line_compression.bundle.bundle_writer import write_float16_bundle

        typer.echo(str(write_float16_bundle(model, output)))


@cli.command()
def prove(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    float_onnx: Annotated[
        Path | None,
        typer.Option("--float", metavar="ONNX", help="The float model that was quantized. Default: beside the bundle."),
    ] = None,
) -> None:
    """Add to a bundle its model for processors without VNNI and for GPUs, and the proof that checks engines."""
    with reported_errors():
        from vision_line.devices.model.model import open_model
        from vision_line_compression.bundle.bundle_proof import prove_bundle
        from vision_line_compression.engines.precision import find_origin

        origin = find_origin(bundle, open_model(bundle), float_onnx, None)
        typer.echo(f"{bundle}: {prove_bundle(bundle, float_onnx=origin.float_onnx)}")


def _capabilities(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in words):
        raise ConfigError(f"--sm: expected numbers such as 75,86,89,120, found {text!r}")
    return [int(word) for word in words]


@cli.command()
def frontier(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help="The report.json of two or more runs with other budgets.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="SVG", help="File of the chart.")] = Path(
        "frontier.svg"
    ),
) -> None:
    """Show what each millisecond costs in accuracy and misses, as it was measured in several runs."""
    with reported_errors():
        from vision_line_compression.files import write_whole
        from vision_line_compression.report.card import ReportCard
        from vision_line_compression.report.frontier import frontier_chart, measured_points, steps

        if len({path.absolute() for path in reports}) < 2:
            raise ConfigError("REPORT: expected the report.json of two runs or more")
        folders = [path.absolute().parent.name for path in reports]
        names = folders if len(set(folders)) == len(folders) else [str(path) for path in reports]
        cards = {name: ReportCard.read(path) for name, path in zip(names, reports, strict=True)}
        points = measured_points(cards)
        for step in steps(points):
            typer.echo(step.sentence)
        write_whole(output, frontier_chart(points).encode())
        typer.echo(str(output))


@cli.command(name="eval")
def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Bundle folder, ONNX file or checkpoint (.pt).")],
    data: Annotated[Path, typer.Option("--data", metavar="YAML", help="YOLO data set.")],
    split: Annotated[str, typer.Option("--split", help="Split: train, val or test.")] = "test",
    shape: Annotated[
        str | None, typer.Option("--shape", metavar="HxW", help="Input shape. Default: the model's own.")
    ] = None,
    score: Annotated[
        float | None, typer.Option("--score", min=0.001, max=0.999, help="Score threshold. Default: the model's own.")
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option("--form", metavar="NAME", help="Variant of the bundle's model. Default: as suits this processor."),
    ] = None,
    images: Annotated[int | None, typer.Option("--images", min=1, help="Largest number of images.")] = None,
    speed: Annotated[
        float, typer.Option("--speed", metavar="S", min=0.0, help="Measure the speed for S seconds too.")
    ] = 0.0,
    group: Annotated[
        str | None,
        typer.Option("--group", metavar="PATTERN", help="Images that belong together: folder, or a file-name pattern."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Output as JSON.")] = False,
) -> None:
    """Evaluate a model on a YOLO data set, with the engine that vision-line inspects with."""
    with reported_errors():
        from vision_line_compression.evaluate.command import evaluate_model

        settings = {"score_threshold": score, "images": images, "speed_s": speed}
        if group is not None:
            _check_pattern(group)
        answer = evaluate_model(
            model, data, split, _shape(shape), settings, variant=variant, group=group, as_json=as_json
        )
        typer.echo(answer)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as exc:
        raise ConfigError(f"--group: expected folder or a regular expression, found {pattern!r}: {exc}") from exc


def _shape(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdigit() and int(side) % 32 == 0 and int(side) for side in sides):
        raise ConfigError(f"--shape: expected HEIGHTxWIDTH in multiples of 32, such as 384x640, found {text!r}")
    return int(sides[0]), int(sides[1])


@cli.command()
def schema() -> None:
    """Print the JSON schema of `eval --json`."""
    import json

    from vision_line_compression.evaluate.results import Evaluation

    typer.echo(json.dumps(Evaluation.model_json_schema(), indent=2))
