# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people did at challenges, as the journal of `reviews.sqlite` has it: begun, next part, ended, broken off."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from vision_line.challenges.entry_bodies import ActBody, BegunBody, ChallengeAct, PlannedPass, ResultBody
from vision_line.errors import RunError
from vision_line.quality.part_windows import PartWindow
from vision_line.records.side_journal import SideEntry, newest
from vision_line.reviews.reviews_file import FILE_NAME

#: A challenge is over a day after it was begun, whatever people do: how far back one is looked for.
LONGEST_S = 86_400.0
#: How far back a result is still entered; older records may be gone.
_MEASURED_LATER_S = 31 * LONGEST_S
#: So many entries are read at first; a challenge has some twenty.
_READ_FIRST = 512


@dataclass(frozen=True, slots=True)
class LineChallenge:
    """A challenge as it was begun, and what was done since. Times are UTC seconds of the machine's clock."""

    number: int
    target: str
    begun: BegunBody
    parts_utc: tuple[float, ...] = ()  # when each part's turn began, in the order of the passes
    ended_utc: float | None = None
    aborted_utc: float | None = None
    why_aborted: str = ""
    result: ResultBody | None = None

    @property
    def over_utc(self) -> float | None:
        """When people ended or broke it off; None: they did not."""
        return self.ended_utc if self.aborted_utc is None else self.aborted_utc

    @property
    def lapses_utc(self) -> float:
        """When it is over if nobody does anything more."""
        last_utc = self.parts_utc[-1] if self.parts_utc else self.begun.at_utc
        return min(last_utc + self.begun.longest_pass_s, self.begun.at_utc + LONGEST_S)

    @property
    def awaits_result(self) -> bool:
        """Whether it was ended, and the program has not entered what it showed."""
        return self.ended_utc is not None and self.aborted_utc is None and self.result is None

    @property
    def next_pass(self) -> PlannedPass | None:
        """The pass whose turn is next; None: all had theirs."""
        return next(iter(self.begun.passes[len(self.parts_utc) :]), None)

    def is_open(self, now_utc: float) -> bool:
        """Whether it goes on: nobody ended it, and the last act is not too long ago."""
        return self.over_utc is None and self.begun.at_utc <= now_utc < self.lapses_utc

    def windows(self) -> list[PartWindow]:
        """Return the time in which each part that had its turn is before the camera.

        Its turn lasts until the next act, `longest_pass_s` at most; it travels to the camera before.
        """
        if not self.parts_utc:
            return []
        ends = (*self.parts_utc[1:], self.lapses_utc if self.over_utc is None else self.over_utc)
        longest_s, travel_s = self.begun.longest_pass_s, self.begun.travel_s
        return [
            PartWindow(
                planned.part, planned.expects, start + travel_s, max(start, min(end, start + longest_s)) + travel_s
            )
            for planned, start, end in zip(self.begun.passes, self.parts_utc, ends, strict=False)
        ]


def challenges_since(connection: sqlite3.Connection, from_utc: float) -> list[LineChallenge]:
    """Return the challenges that may reach beyond `from_utc`, the oldest first.

    The journal is read from its end, as its times are those of a clock that may be set.

    Raises:
        RunError: an entry is none of ours.
        sqlite3.Error: as it comes.
    """
    return folded(_entries_since(connection, tuple(ChallengeAct), from_utc - LONGEST_S))


def awaiting_result(connection: sqlite3.Connection, now_utc: float) -> list[LineChallenge]:
    """Return the challenges that were ended and have no result, of a month, the oldest first.

    Cheap where there is none: only ends and results are read then.

    Raises:
        RunError: an entry is none of ours.
        sqlite3.Error: as it comes.
    """
    kinds = (ChallengeAct.ENDED, ChallengeAct.RESULT)
    waiting = without_result(_entries_since(connection, kinds, now_utc - _MEASURED_LATER_S))
    if not waiting:
        return []
    return [one for one in challenges_since(connection, waiting[0].at_utc) if one.awaits_result]


def without_result(found: Sequence[SideEntry]) -> list[SideEntry]:
    """Return the ends among these entries, which are ends and results, whose challenge has no result among them."""
    measured = {entry.body.get("challenge") for entry in found if entry.kind == ChallengeAct.RESULT}
    ends = (entry for entry in found if entry.kind == ChallengeAct.ENDED)
    return [entry for entry in ends if entry.body.get("challenge") not in measured]


def _entries_since(connection: sqlite3.Connection, kinds: Collection[str], from_utc: float) -> list[SideEntry]:
    most = _READ_FIRST
    while True:
        found = newest(connection, kinds, most)
        if len(found) < most or found[-1].at_utc < from_utc:
            return found[::-1]
        most *= 4


def folded(found: Iterable[SideEntry]) -> list[LineChallenge]:
    """Return the challenges that these entries tell of; of those begun before, nothing.

    Raises:
        RunError: an entry is none of ours.
    """
    return list(followed({}, found).values())


def followed(before: Mapping[int, LineChallenge], found: Iterable[SideEntry]) -> dict[int, LineChallenge]:
    """Return these challenges, by their number, with those that the entries behind them tell of. Raises as `folded`."""
    known = dict(before)
    for entry in found:
        try:
            _follow(known, entry)
        except ValidationError as exc:
            raise RunError(f"entry {entry.number} of {FILE_NAME} is not as challenges are entered") from exc
    return known


def _follow(known: dict[int, LineChallenge], entry: SideEntry) -> None:
    """Do to `known` what the entry says.

    Raises:
        ValidationError: it says nothing of a challenge.
    """
    match entry.kind:
        case ChallengeAct.BEGUN:
            known[entry.number] = LineChallenge(entry.number, entry.key, BegunBody.model_validate(entry.body))
        case ChallengeAct.RESULT:
            result = ResultBody.model_validate(entry.body)
            if result.challenge in known:
                known[result.challenge] = replace(known[result.challenge], result=result)
        case ChallengeAct.PART | ChallengeAct.ENDED | ChallengeAct.ABORTED:
            act = ActBody.model_validate(entry.body)
            if act.challenge in known:
                known[act.challenge] = _after(known[act.challenge], entry.kind, act)


def _after(challenge: LineChallenge, kind: str, act: ActBody) -> LineChallenge:
    if kind == ChallengeAct.PART:
        return replace(challenge, parts_utc=(*challenge.parts_utc, act.at_utc))
    if kind == ChallengeAct.ENDED:
        return replace(challenge, ended_utc=act.at_utc)
    return replace(challenge, aborted_utc=act.at_utc, why_aborted=act.why)
