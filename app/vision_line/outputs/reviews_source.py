# SPDX-License-Identifier: AGPL-3.0-or-later
"""The journal of what people decide, as outputs follow it: results of challenges alone leave the machine."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from vision_line.challenges.entry_bodies import ChallengeAct, PassOutcome, ResultBody
from vision_line.outputs.chained_source import ChainedSource
from vision_line.outputs.cursor import JournalName
from vision_line.outputs.notification import CHALLENGE, Notification
from vision_line.records.formats import iso_utc
from vision_line.records.journal import JournalEntry
from vision_line.reviews.reviews_file import FILE_NAME, REVIEWS_FILE


class ReviewsSource(ChainedSource):
    """What challenges showed. Of every other entry not even the body is read: some are about accounts."""

    journal = JournalName.REVIEWS
    _behind = f"""SELECT number, 0, kind, key, at_utc, iif(kind = '{ChallengeAct.RESULT}', body, ''), digest
        FROM journal WHERE number > ? ORDER BY number LIMIT ?"""  # noqa: S608  ours

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / FILE_NAME)

    def _opened(self, path: Path) -> sqlite3.Connection | None:
        return REVIEWS_FILE.reader(path.parent)

    def _translated(self, entry: JournalEntry) -> Notification:
        if entry.kind != ChallengeAct.RESULT:
            return Notification(self._id_of(entry), entry.number, self._kind_of(entry), entry.at_utc, {})
        result = ResultBody.model_validate_json(entry.body)
        counts = {outcome.replace(" ", "_"): result.count(outcome) for outcome in PassOutcome}
        content = {
            "run": None,
            "target": entry.key,
            "challenge": f"{JournalName.REVIEWS}:{result.challenge}",
            "outcome": result.outcome,
            "why": result.why,
            "done_utc": iso_utc(result.at_utc),
            "passes": len(result.passes),
            **counts,
            "strays": result.strays,
        }
        return Notification(self._id_of(entry), entry.number, CHALLENGE, entry.at_utc, content)

    def _kind_of(self, entry: JournalEntry) -> str:
        """Return what no output can ask for where it is none of ours to tell."""
        return CHALLENGE if entry.kind == ChallengeAct.RESULT else ""

    def _id_of(self, entry: JournalEntry) -> str:
        return f"{JournalName.REVIEWS}:{entry.number}"
