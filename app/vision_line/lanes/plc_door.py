# SPDX-License-Identifier: AGPL-3.0-or-later
"""The port between what decides and the machine that sorts: triggers come in, decisions go out. Pure.

Moments are seconds of the monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vision_line.parts.part import PartCause, PartVerdict


@dataclass(frozen=True, slots=True)
class Trigger:
    """A part begins to pass a lane.

    `number` is what the PLC calls it, None where it has no number for it. `encoder` is the belt's count at that moment.
    `lot` and `recipe` are None where the trigger does not say: then what was in force at its moment counts. `crossing`
    is the number of the object that a camera saw cross a line, None where none did.
    """

    lane: str
    at_s: float
    number: int | None = None
    part_id: str = ""
    lot: str | None = None
    recipe: str | None = None
    encoder: int | None = None
    crossing: int | None = None


@dataclass(frozen=True, slots=True)
class PartDecision:
    """What the machine is told of a part, once. `class_name` and `score` are of the worst defect, "" and 0 without."""

    lane: str
    sequence: int
    trigger: Trigger
    verdict: PartVerdict
    cause: PartCause
    class_name: str
    score: float
    decided_s: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class LaneState:
    """How a lane is: `fault` is why it accepts nothing now, in words, "" where it can. The counts never go back."""

    is_enabled: bool
    fault: str
    cause: PartCause
    parts: int
    rejects: int
    not_inspected: int


class LaneControl(Protocol):
    """What a door hands over; in the event loop's thread. None of them waits."""

    def trigger(self, trigger: Trigger) -> int:
        """Take a part that begins to pass; return its `sequence`. One that was taken before keeps its own.

        Raises:
            ConfigError: there is no such lane, or an id is none.
        """

    def encoder(self, lane: str, count: int, at_s: float) -> None:
        """Take the belt's count, of 32 bits, at a moment."""

    def begin_anew(self, lane: str) -> None:
        """Hear that the machine has forgotten the parts on their way: none of them can be accepted any more."""

    def enable(self, lane: str, *, is_enabled: bool, by: str) -> None:
        """Have a lane divert everything, or end that; it decides where nobody, by name, has it divert."""

    def is_off(self, lane: str, *, by: str) -> bool:
        """Whether a lane diverts everything in the name of a machine, also since before this process."""

    def release(self, by: str) -> None:
        """Have no lane divert any more in the name of a machine that nobody configures now."""

    def counted(self, lane: str, parts: int, rejects: int) -> None:
        """Take what the machine counted since its start, each modulo 65536, to be compared with ours."""


class PlcDoor(Protocol):
    """A machine that sorts. Used in the event loop's thread."""

    async def open(self, control: LaneControl) -> None:
        """Be reachable.

        Raises:
            RunError: it cannot.
        """

    def decide(self, decision: PartDecision) -> None:
        """Tell a decision; when this returns the machine can read it, or is being told."""

    def show(self, states: Mapping[str, LaneState], *, is_line_well: bool) -> None:
        """Tell how the lanes are; called every 100 ms: a machine that hears nothing for longer diverts everything."""

    async def close(self) -> None:
        """Say that nothing is decided any more, and end; may be called twice."""
