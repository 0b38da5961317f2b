# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the entries of challenges in the journal of `reviews.sqlite` hold, each kind with its model.

The beginning's entry says all that the challenge is measured by: a plan that changes meanwhile changes nothing.
A challenge is known by that entry's number; its entries have the target's name as their key. `at_utc` is the moment of
the act on the machine's clock, that of the entry when it was written. Public: older entries stay readable.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from pydantic import BaseModel, ConfigDict


class ChallengeAct(StrEnum):
    """What an entry says."""

    BEGUN = "challenge_begun"
    PART = "challenge_part"  # the turn of the next part begins
    ENDED = "challenge_ended"
    ABORTED = "challenge_aborted"
    RESULT = "challenge_result"  # entered by the program: what the records show


class EntryBody(BaseModel):
    """A body; a key that it does not know is a newer version's."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PlannedPass(EntryBody):
    """One pass that is asked for: which part, what it should show (nothing: a good part), and where it is to lie."""

    part: str
    expects: frozenset[str]
    position: str = ""


class ChallengeCriteria(EntryBody):
    """What a challenge may miss and reject at most, as shares, and the seed of its order and positions."""

    miss: float
    false_reject: float
    seed: str
    plan_sha256: str


class BegunBody(EntryBody):
    """A challenge begins: who, for which cameras, which passes in which order, and what it is measured by."""

    by: str
    at_utc: float
    cameras: tuple[str, ...]
    passes: tuple[PlannedPass, ...]
    longest_pass_s: float
    travel_s: float = 0.0
    criteria: ChallengeCriteria


class ActBody(EntryBody):
    """A later act, of whom, when; `why` it was broken off."""

    by: str
    at_utc: float
    challenge: int
    why: str = ""


class PassOutcome(StrEnum):
    """What became of a pass."""

    FOUND = "found"
    MISSED = "missed"
    ACCEPTED = "accepted"  # a good part without an event
    FALSELY_REJECTED = "falsely rejected"
    NOT_INSPECTED = "not inspected"  # it was not found, and a camera had a gap meanwhile


class CountedPass(Protocol):
    """What is counted: a pass of a part, or a clip."""

    @property
    def part(self) -> str:
        """Which one."""
        ...

    @property
    def outcome(self) -> PassOutcome:
        """What became of it."""
        ...


class PassResult(PlannedPass):
    """A pass with its window, what became of it, the events that count for it, and the classes that nobody found."""

    from_utc: float
    to_utc: float
    outcome: PassOutcome
    events: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


class ChallengeOutcome(StrEnum):
    """What a challenge showed."""

    PASSED = "passed"
    FAILED = "failed"
    VOID = "void"  # it shows too little: parts that were not inspected or not passed, a clock that was set


class ResultBody(EntryBody):
    """What the records show of a challenge, with the head of their journal when that was read."""

    challenge: int
    at_utc: float
    outcome: ChallengeOutcome
    why: tuple[str, ...]
    passes: tuple[PassResult, ...]
    strays: int
    criteria: ChallengeCriteria
    record_number: int
    record_head: str

    def count(self, *outcomes: PassOutcome) -> int:
        """Return how many passes had one of these outcomes."""
        return sum(one.outcome in outcomes for one in self.passes)
