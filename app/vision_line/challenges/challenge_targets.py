# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is challenged and with which parts, as the plan says; and the draw of a challenge's order and positions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Literal

from pydantic import BaseModel, ConfigDict

from vision_line.challenges.entry_bodies import PlannedPass

OnFail = Literal["alarm", "stop"]

#: What the journal of the records calls the plan that is in force.
PLAN_KEY = "challenges"


class ChallengePart(BaseModel):
    """A part: what it should show (nothing: a good part), how often it is passed, and how long it may be used."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    expects: frozenset[str]
    repeats: int
    made: date | None = None
    max_age_days: int | None = None
    max_passes: int | None = None

    def worn(self, passes: int, now_utc: float) -> str:
        """Return why no challenge may begin with it after `passes`, "" if one may."""
        age_days = 0 if self.made is None else (datetime.fromtimestamp(now_utc, UTC).date() - self.made).days
        if self.max_age_days is not None and age_days > self.max_age_days:
            return f"part {self.id} is {age_days} days old, allowed are {self.max_age_days}: check or replace it"
        if self.max_passes is not None and passes + self.repeats > self.max_passes:
            return f"part {self.id} was passed {passes} times, allowed are {self.max_passes}: check or replace it"
        return ""


class ChallengeTarget(BaseModel):
    """A camera or a station with its challenges."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    is_station: bool
    cameras: tuple[str, ...]
    parts: tuple[ChallengePart, ...]
    positions: tuple[str, ...]
    every_s: float
    on_fail: OnFail
    longest_pass_s: float
    travel_s: float
    miss: float
    false_reject: float

    @property
    def defective_passes(self) -> int:
        """Passes of defective parts in one challenge."""
        return sum(part.repeats for part in self.parts if part.expects)

    def worn(self, passes: Mapping[str, int], now_utc: float) -> list[str]:
        """Return a sentence for each part that no challenge may begin with."""
        return [why for part in self.parts if (why := part.worn(passes.get(part.id, 0), now_utc))]

    def drawn(self, seed: str) -> tuple[PlannedPass, ...]:
        """Return the passes in their order, each with its position: by the hash of its name, so anybody can repeat it.

        A pass is named `<seed>/<part>/<which of its repeats, from 0>`.
        """
        named = {f"{seed}/{part.id}/{repeat}": part for part in self.parts for repeat in range(part.repeats)}
        return tuple(
            PlannedPass(part=named[name].id, expects=named[name].expects, position=self._position(name))
            for name in sorted(named, key=_hash)
        )

    def _position(self, name: str) -> str:
        return self.positions[_hash(f"{name}/position") % len(self.positions)] if self.positions else ""


def _hash(text: str) -> int:
    return int.from_bytes(sha256(text.encode()).digest()[:8])
