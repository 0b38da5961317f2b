# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long what the first of two people said of an item is nobody's to know but their own."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from vision_line.reviews.answer import GivenAnswer
from vision_line.reviews.review_plan import is_for_two

#: A slip may be taken back so long, in seconds: until then a second answer shows nothing of the first one, and one that
#: was taken back later was given blindly all the same, since the first one could be seen.
SLIP_S = 60.0

#: Who may answer; the roles are the desk's.
_REVIEWERS = "SELECT count(*) FROM users WHERE role <> 'viewer'"


def waits_for_second(answers: Sequence[GivenAnswer], now_utc: float) -> bool:
    """Whether these answers of one item, those that count, wait for a second person's: it has to stand for a while."""
    return is_for_two(str(answers[0].item)) and sum(_stands(one, now_utc) for one in answers) < 2


def has_second(reviews: sqlite3.Connection) -> bool:
    """Whether a second person could answer at all: one reviewer's answers, or those of a link, wait for nobody.

    Raises:
        sqlite3.Error: as it comes.
    """
    return bool(reviews.execute(_REVIEWERS).fetchone()[0] > 1)


def _stands(answer: GivenAnswer, now_utc: float) -> bool:
    """Whether it is no slip any more; one from a clock that was ahead stands."""
    return not answer.is_second or not 0 <= now_utc - answer.at_utc < SLIP_S
