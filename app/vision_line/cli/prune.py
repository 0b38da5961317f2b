# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line prune`: old records go, and what went is said."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from vision_line.errors import ConfigError
from vision_line.records.formats import iso_utc
from vision_line.records.removal import prune
from vision_line.records.schema import FILE_NAME


def prune_records(record: Path, keep_days: int | None, max_mb: int | None, *, dry_run: bool) -> None:
    """Remove what the options ask for, or say what would be removed.

    Raises:
        VisionLineError: neither option is given, no records, a run uses them, or they cannot be written.
    """
    if keep_days is None and max_mb is None:
        raise ConfigError("expected --keep-days, --max-mb or both: what is to be removed?")
    done = prune(record, keep_days or 0, max_mb or 0, time.time(), dry_run=dry_run)
    word = "would be removed" if dry_run else "removed"
    for part in done.removed:
        typer.echo(f"{part.table}: {part.rows} rows {word}, {iso_utc(part.from_utc)} to {iso_utc(part.to_utc)}")
    if done.images:
        typer.echo(f"evidence: images of {done.images} events {word}")
    if not done.removed and not done.images:
        typer.echo("nothing to remove")
    before, after = done.bytes_before / 1e6, done.bytes_after / 1e6
    typer.echo(f"{record / FILE_NAME}: {before:.1f} MB, {'would be ' if dry_run else 'now '}{after:.1f} MB")
    if max_mb and done.bytes_after > max_mb * 1_000_000:
        typer.echo("more than asked for: the last hour stays, and events whose images are kept", err=True)
