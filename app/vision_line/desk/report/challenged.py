# SPDX-License-Identifier: AGPL-3.0-or-later
"""What known parts showed in the time of a report, and what held for each target at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.challenges.acts import LineChallenge, challenges_since
from vision_line.challenges.due import EnteredResults, TargetState, entered_results, names_of, states
from vision_line.challenges.recorded_plan import read_plan
from vision_line.desk.challenges.challenge_board import PastChallenge, past_challenge
from vision_line.desk.local_time import ChosenTime
from vision_line.records.records import Records
from vision_line.reviews.reviews_file import reading


@dataclass(frozen=True, slots=True)
class ReportedChallenges:
    """The challenges that ended in the time, the oldest first, and each target's state at `at_utc`, its end or now."""

    ended: Sequence[PastChallenge]
    states: Sequence[TargetState]
    at_utc: float


def read_challenges(connection: Records, directory: Path, time: ChosenTime, now_utc: float) -> ReportedChallenges:
    """Return them by the record file and `reviews.sqlite`; targets are those of the plan that is in force now.

    Raises:
        RunError: a file cannot be read.
        Error: the database's, as it comes.
    """
    at_utc = min(time.until_utc, now_utc)
    targets = read_plan(connection).targets
    with reading(directory) as reviews:
        found = [] if reviews is None else challenges_since(reviews, time.since_utc)
        entered = EnteredResults() if reviews is None else entered_results(reviews, names_of(targets), at_utc)
    ended = [past_challenge(one, at_utc) for one in found if time.since_utc <= _ended_utc(one) < at_utc]
    return ReportedChallenges(ended, states(targets, entered, at_utc), at_utc)


def _ended_utc(challenge: LineChallenge) -> float:
    over_utc = challenge.over_utc
    return challenge.lapses_utc if over_utc is None else over_utc
