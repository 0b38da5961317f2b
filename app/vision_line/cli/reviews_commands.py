# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line reviews` with its options; each command hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import RECORDS, AsJson, Record
from vision_line.commands import CarefulTyper
from vision_line.reviews.handoff.set_format import SetFormat

reviews_cli = CarefulTyper(
    name="reviews", help="What reviews at the desk show, and reviewed images to train on.", no_args_is_help=True
)

_MOMENT = "2h, 30m or 7d ago, or an ISO 8601 time; UTC where it names no offset."
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help=f"Items seen from this moment on: {_MOMENT}")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Items seen before this moment.")]


@reviews_cli.command("export")
def export_reviews(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="A folder that is new or empty.")],
    format_: Annotated[
        SetFormat,
        typer.Option("--format", help="yolo for vision-line-compress; coco for CVAT and FiftyOne; label-studio."),
    ] = SetFormat.YOLO,
    record: Record = RECORDS,
    since: Since = None,
    until: Until = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="LIST",
            help="Only images with missed, overruled, corrected, confirmed or clean items: missed,overruled.",
        ),
    ] = None,
    keep_unreviewed: Annotated[
        bool,
        typer.Option(
            "--keep-unreviewed", help="Take what the line found in these images and nobody reviewed for defects."
        ),
    ] = False,
) -> None:
    """Write reviewed images with their true defects as a data set."""
    with reported_errors():
        from vision_line.cli.reviews_export import export_reviewed, wanted_reviews

        wanted = wanted_reviews(since, until, only, keep_unreviewed=keep_unreviewed)
        export_reviewed(record, wanted, format_, output)


@reviews_cli.command("figures")
def show_figures_of_reviews(
    record: Record = RECORDS,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Show what reviews say of the line: precision, recall, escapes, agreement; of the last 7 days without --since."""
    with reported_errors():
        from vision_line.cli.reviews_figures import show_figures

        show_figures(record, since, until, as_json=as_json)
