# SPDX-License-Identifier: AGPL-3.0-or-later
"""The options of `vision-line reinspect`, which hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import DEVICE, RECORDS, AllowFailedGates, Cameras, Record, Since, Until


def reinspect(
    model: Annotated[Path, typer.Option("--model", metavar="PATH", help="The model to try: a bundle or an ONNX file.")],
    record: Record = RECORDS,
    before: Annotated[
        Path | None,
        typer.Option(
            "--before", metavar="PATH", help="The model of now: inspects the same recordings, for a fair comparison."
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    camera: Cameras = [],  # noqa: B006 - typer copies it
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the changes; what is done is kept there.")
    ] = Path("reinspected"),
    device: Annotated[str, typer.Option("--device", metavar="NAME", help=DEVICE)] = "auto",
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Share the work with a Ray cluster: auto, or HOST:PORT of it."),
    ] = None,
    allow_failed_gates: AllowFailedGates = False,
) -> None:
    """Inspect recorded clips and images with another model, and show what would change before it is swapped."""
    with reported_errors():
        from vision_line.cli.export import selected
        from vision_line.cli.reinspect import ReinspectOptions, reinspect_records

        options = ReinspectOptions(
            record=record,
            model=model,
            before=before,
            device=device,
            output=output,
            allow_failed_gates=allow_failed_gates,
            wanted=selected(since, until, camera, (), ()),
        )
        if ray is None:
            reinspect_records(options)
        else:
            from vision_line.reinspection.cluster_workers import ray_workers

            reinspect_records(options, ray_workers(ray, device))
