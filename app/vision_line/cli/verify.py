# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line verify`: whether records are what was written, and the head to keep elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from vision_line.cli.progress import progress_bar
from vision_line.errors import ConfigError
from vision_line.records.formats import iso_utc
from vision_line.records.journal_check import Expected
from vision_line.records.seal import CheckedSeals, load_public_key
from vision_line.records.verification import Verified, verify

_HEAD = re.compile(r"[0-9a-f]{64}")


def verify_records(record: Path, head: str | None, key: Path | None, *, pictures: bool) -> None:
    """Check the records, and say what was checked.

    Raises:
        ConfigError: `head` or `key` is none.
        VisionLineError: something does not fit, or there are no records that can be read.
    """
    if head is not None and not _HEAD.fullmatch(head := head.strip().lower()):
        raise ConfigError("--head: expected the 64 hexadecimal digits that verify printed")
    expected = Expected(head, None if key is None else load_public_key(key))
    with progress_bar("Verifying the journal") as report:
        verified = verify(record, expected, report, images=pictures)
    for line in _said(verified):
        typer.echo(line)
    typer.echo(f"head {verified.journal.head.digest.hex()}")


def _said(verified: Verified) -> list[str]:
    journal = verified.journal
    lines = [
        f"entries {journal.first} to {journal.head.number} hold; the journal begins at {iso_utc(journal.began_utc)}"
    ]
    if journal.first > 1:
        lines.append(
            f"entries before {journal.first} were removed with their rows: kept since {iso_utc(journal.since_utc)}"
        )
    if journal.carried:
        lines.append(f"entries that repeat what removed ones said, which nothing older proves: {journal.carried}")
    if journal.before:
        rows = ", ".join(f"{count} of {table}" for table, count in journal.before.items())
        lines.append(f"rows from before the journal, of which it says nothing: {rows}")
    if journal.under_way:
        lines.append(f"minutes under way, which have no entry yet: {journal.under_way}")
    lines += _of_seals(journal.seals)
    if (images := verified.images) is not None:
        lines.append(f"images: {images.images} hold")
        if images.unsettled:
            lines.append(
                f"images of {images.unsettled} events: removed or lost when the last run died; a start settles it"
            )
        if images.lost:
            lines.append(f"images of {images.lost} events: removed or lost when a run died, as the next start found")
    return lines


def _of_seals(seals: CheckedSeals) -> list[str]:
    if not seals.count:
        return []
    lines = [f"seals: {seals.count}, the last at {iso_utc(seals.last_utc)}"]
    if seals.behind:
        lines.append(f"entries behind the last seal, which none covers yet: {seals.behind}")
    lines += [f"signed by key {key}: {count} seals" for key, count in seals.signed.items()]
    if seals.unsynchronised:
        lines.append(f"seals at which the clock followed no time server: {seals.unsynchronised}")
    return lines
