# SPDX-License-Identifier: AGPL-3.0-or-later
"""The options of what reads and keeps records: `export`, `prune`, `verify`, `feed`; each hands over to its module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import MORE, RECORDS, Cameras, Record, Since, Until
from vision_line.parts.part import PartVerdict
from vision_line.records.columns import Table
from vision_line.records.table_export import Format


def export(
    record: Record = RECORDS,
    table: Annotated[Table, typer.Option("--table", help="Table to export.")] = Table.EVENTS,
    format_: Annotated[Format, typer.Option("--format", help="File format.")] = Format.CSV,
    since: Since = None,
    until: Until = None,
    camera: Cameras = [],  # noqa: B006 - typer copies it
    class_: Annotated[list[str], typer.Option("--class", metavar="NAME", help=f"Only this class{MORE}")] = [],  # noqa: B006 - typer copies it
    verdict: Annotated[list[PartVerdict], typer.Option("--verdict", help=f"Only this verdict{MORE}")] = [],  # noqa: B006 - typer copies it
    lot: Annotated[list[str], typer.Option("--lot", metavar="LOT", help=f"Only what is of this lot{MORE}")] = [],  # noqa: B006 - typer copies it
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
