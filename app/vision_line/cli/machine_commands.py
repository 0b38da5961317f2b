# SPDX-License-Identifier: AGPL-3.0-or-later
"""The options of what measures a machine: `doctor`, `selftest`, `bench`, `capacity`; each hands over to its module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.capacity.constants import Codec
from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import MODEL, MORE, AsJson, RecordOfLine


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


def selftest(
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Device to test: auto, cpu, cuda or cuda:1.")
    ] = "auto",
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help=f"{MODEL} Default: the shipped one.")
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


def bench(
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write it for `vision-line node --capacity`.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Device to measure: auto, cpu, cuda or cuda:1.")
    ] = "auto",
    model: Annotated[
        Path | None, typer.Option("--model", metavar="PATH", help=f"{MODEL} Default: the shipped one.")
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
    ] = [1.0],  # noqa: B006 - typer copies it
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
