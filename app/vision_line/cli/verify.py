# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line verify`: whether records, parts, and what people decided are what was written; the head to keep."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from vision_line.cli.progress import progress_bar
from vision_line.errors import ConfigError
from vision_line.parts.parts_check import CheckedParts, check_parts
from vision_line.parts.parts_file import FILE_NAME as PARTS
from vision_line.records.formats import iso_utc
from vision_line.records.journal_check import Expected
from vision_line.records.seal import CheckedSeals, load_public_key
from vision_line.records.verification import Verified, verify
from vision_line.reviews.reviews_check import CheckedReviews, check_reviews
from vision_line.reviews.reviews_file import FILE_NAME

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
    parts, reviews = check_parts(record), check_reviews(record)
    for line in (*_said(verified), *_of_parts(parts), *_of_reviews(reviews)):
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
    if verified.draws:
        lines.append(f"audits and near misses: {verified.draws} draws hold")
    if (images := verified.images) is not None:
        lines.append(f"images: {images.images} hold")
        if images.clips:
            lines.append(f"clips: {images.clips} hold")
        if images.unsettled:
            lines.append(
                f"files of {images.unsettled} rows: removed or lost when the last run died; a start settles it"
            )
        if images.lost:
            lines.append(f"files of {images.lost} rows: removed or lost when a run died, as the next start found")
    return lines


def _of_reviews(reviews: CheckedReviews | None) -> list[str]:
    """Say what was checked of what people decided, head and all: the last line stays the records' own."""
    if reviews is None:
        return []
    answers = reviews.answers
    given = f", {answers.answers} answers of {answers.people} people for {answers.items} items" if answers.items else ""
    return [f"{FILE_NAME}: {reviews.entries} entries hold{given}; its newest is {reviews.head or 'none'}"]


def _of_parts(parts: CheckedParts | None) -> list[str]:
    """Say what was checked of the parts that passed."""
    if parts is None:
        return []
    corrected = f", {parts.corrections} corrections" if parts.corrections else ""
    removed = f", {parts.removed} parts before them were removed" if parts.removed else ""
    passed = f"{parts.parts} parts{corrected}{removed}"
    return [f"{PARTS}: {parts.entries} entries hold, {passed}; its newest is {parts.head or 'none'}"]


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
