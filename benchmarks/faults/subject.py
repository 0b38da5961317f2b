# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a subject shows of itself: what it inspected of each camera, and what it says was not inspected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.faults.clock import Stamped

VICTIM = "victim"


@dataclass(frozen=True, slots=True)
class Inspection:
    """One inspected frame. `age_s` is how old it was when its result was there, None where it was no frame."""

    camera: str
    at_s: float  # monotonic, when the frame was there to be inspected
    age_s: float | None
    number: int | None = None  # which frame of the camera's video


@dataclass(frozen=True, slots=True)
class ReportedGap:
    """An interval of which the subject itself says that a camera was not inspected, and why."""

    camera: str
    cause: str
    started_s: float
    ended_s: float | None


@dataclass(slots=True)
class Account:
    """All of it, for one run of one subject."""

    cameras: tuple[str, ...]
    inspections: list[Inspection] = field(default_factory=list)
    reported: list[ReportedGap] = field(default_factory=list)
    exit_code: int | None = None  # of a peer: where it ended by itself
    damaged: int = 0  # frames of the victim that were counted as damaged
    rows: list[Stamped] = field(default_factory=list)  # what it wrote down, in the order of writing
    steps_s: tuple[float, ...] = ()  # by how much the wall clock was set, as the subject says


class Subject(Protocol):
    """A program that looks at cameras; every call from one thread."""

    name: str

    def launch(self) -> None:
        """Start it, and do not wait."""

    def wait(self, cameras: int) -> None:
        """Wait until it looks at so many cameras.

        Raises:
            EndedError: it ended by itself.
            TooSlowError: it takes too long.
        """

    def signal(self, number: int) -> None:
        """Send it a signal."""

    def kill(self) -> None:
        """Kill it as a power cut would."""

    def stop(self) -> Account:
        """End it and return what it did."""

    def close(self) -> None:
        """Leave no process behind."""
