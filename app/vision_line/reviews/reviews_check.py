# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether `reviews.sqlite` is what was written (`vision-line verify`): chain, users, answers, and their draws."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import BrokenRecordError
from vision_line.records.schema import FILE_NAME as RECORDS
from vision_line.records.schema import open_reader, translated
from vision_line.records.side_check import check_side_file
from vision_line.records.side_journal import head
from vision_line.reviews.account_entries import users_problem
from vision_line.reviews.answer_journal import AnswerCounts, answer_counts, answers_after, answers_problem
from vision_line.reviews.drawn_check import draws_problem
from vision_line.reviews.reviews_file import REVIEWS_FILE


@dataclass(frozen=True, slots=True)
class CheckedReviews:
    """Everything holds: how many entries there are, the digest of the newest in hex, and the answers that count."""

    entries: int
    head: str
    answers: AnswerCounts


def check_reviews(directory: Path) -> CheckedReviews | None:
    """Check what people decided; None: nobody decided anything yet.

    Raises:
        BrokenRecordError: something does not fit, or the file is damaged; it names the first.
        RunError: it is none of ours, of a newer version, or cannot be read.
    """
    return check_side_file(REVIEWS_FILE, directory, _checked)


def _checked(connection: sqlite3.Connection, path: Path) -> CheckedReviews:
    for problem in (users_problem(connection), answers_problem(connection)):
        if problem:
            raise BrokenRecordError(f"{path}: {problem}")
    if problem := _drawn_otherwise(connection, path.parent):
        raise BrokenRecordError(f"{path}: {problem}")
    (entries,) = connection.execute("SELECT count(*) FROM journal").fetchone()
    return CheckedReviews(entries, head(connection), answer_counts(connection))


def _drawn_otherwise(connection: sqlite3.Connection, directory: Path) -> str:
    """Return which answer was not drawn as it says; records that were taken away prove less."""
    answers = answers_after(connection, 0, -1)
    records = directory / RECORDS
    if not answers or not records.is_file():
        return draws_problem(None, answers)
    with translated(records, "reading"), closing(open_reader(directory)) as rows:
        return draws_problem(rows, answers)
