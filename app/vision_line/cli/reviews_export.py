# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line reviews export`: reviewed images as a data set."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import typer

from vision_line.challenges.challenge_windows import challenge_windows
from vision_line.cli.progress import progress_bar
from vision_line.errors import ConfigError
from vision_line.records.query import parse_moment
from vision_line.records.schema import FILE_NAME, no_records, open_reader, translated
from vision_line.reviews.handoff.export_set import export_set
from vision_line.reviews.handoff.reviewed_image import Reason
from vision_line.reviews.handoff.reviewed_images import WantedReviews
from vision_line.reviews.handoff.set_format import SetFormat
from vision_line.reviews.reviews_file import FILE_NAME as REVIEWS_FILE
from vision_line.reviews.reviews_file import reading
from vision_line.runtime.output_check import check_outputs
from vision_line.runtime.protected_files import check_apart, kept_records


def wanted_reviews(since: str | None, until: str | None, only: str | None, *, keep_unreviewed: bool) -> WantedReviews:
    """Return what the options ask for.

    Raises:
        ConfigError: a moment or reason is none, or no moment is wanted.
    """
    now_utc = time.time()
    since_utc, until_utc = (None if text is None else parse_moment(text, now_utc) for text in (since, until))
    if since_utc is not None and until_utc is not None and since_utc >= until_utc:
        raise ConfigError("--since: no moment is at or after it and before --until")
    return WantedReviews(since_utc, until_utc, _reasons(only), keep_unreviewed)


def _reasons(only: str | None) -> frozenset[Reason]:
    if only is None:
        return frozenset(Reason)
    words = [word.strip() for word in only.split(",")]
    if unknown := [word for word in words if word not in set(Reason)]:
        raise ConfigError(f"--only: expected {', '.join(Reason)}, found {', '.join(map(repr, unknown))}")
    return frozenset(map(Reason, words))


def export_reviewed(record: Path, wanted: WantedReviews, file_format: SetFormat, output: Path) -> None:
    """Write the wanted images into the new folder `output`, and say what is in it and what was left out.

    Raises:
        ConfigError: there are no records or no reviews, or `output` cannot be written.
        VisionLineError: the records or reviews cannot be read, or the disk is full.
    """
    if not (record / FILE_NAME).is_file():
        raise ConfigError(no_records(record, "--record"))
    check_outputs({}, {"-o": output})
    check_apart([(f"-o {output}", output)], kept_records(record))
    path = record / FILE_NAME
    wanted = replace(wanted, is_left_out=challenge_windows(record, 0.0, float("inf")).holds)
    with reading(record) as reviews, translated(path, "reading"), closing(open_reader(record)) as rows:
        if reviews is None:
            raise ConfigError(f"{record}: nobody reviewed anything yet: there is no {REVIEWS_FILE}")
        rows.execute("BEGIN")  # one state of both files
        with progress_bar("Copying images") as progress:
            made = export_set(record, (rows, reviews), wanted, file_format, output, progress)
    splits = ", ".join(f"{count} {split}" for split, count in sorted(made.splits.items()))
    typer.echo(f"{output}: {made.images} images" + (f" ({splits})" if splits else ""))
    for why, count in made.left_out.items():
        if count:
            typer.echo(f"left out: {count}: {why.value}", err=True)
    if file_format.is_yolo and len(made.splits) == 1:
        typer.echo("all images are of a few minutes, so none validates: use it with --more-data only", err=True)
