# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line prune`: old records go, and what went is said."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from vision_line.errors import ConfigError
from vision_line.parts.parts_removal import RemovedParts
from vision_line.parts.parts_retention import prune_parts
from vision_line.records.formats import iso_utc
from vision_line.records.removal import prune
from vision_line.records.schema import FILE_NAME


def prune_records(
    record: Path, keep_days: int | None, max_mb: int | None, signing_key: Path | None, *, dry_run: bool
) -> None:
    """Remove what the options ask for, or say what would be removed.

    Raises:
        VisionLineError: neither option is given, no records, a run uses them, or they cannot be written; or the key of
            a signed journal is missing.
    """
    if keep_days is None and max_mb is None:
        raise ConfigError("expected --keep-days, --max-mb or both: what is to be removed?")
    done = prune(record, keep_days or 0, max_mb or 0, time.time(), dry_run=dry_run, signing_key=signing_key)
    word = "would be removed" if dry_run else "removed"
    for one in done.removed:
        typer.echo(f"{one.table}: {one.rows} rows {word}, {iso_utc(one.from_utc)} to {iso_utc(one.to_utc)}")
    if done.images:
        typer.echo(f"evidence: images of {done.images} events {word}")
    if done.files:
        typer.echo(f"clips and images for review: {done.files} {word}")
    parts = prune_parts(record, keep_days, time.time(), dry_run=dry_run) if keep_days else RemovedParts()
    if parts.parts:
        typer.echo(f"parts: {parts.parts} {word}, {parts.span}")
    if not (done.removed or done.images or done.files or parts.parts):
        typer.echo("nothing to remove")
    before, after = done.bytes_before / 1e6, done.bytes_after / 1e6
    typer.echo(f"{record / FILE_NAME}: {before:.1f} MB, {'would be ' if dry_run else 'now '}{after:.1f} MB")
    if max_mb and done.bytes_after > max_mb * 1_000_000:
        typer.echo("more than asked for: the last hour stays, and events whose images are kept", err=True)
