# SPDX-License-Identifier: AGPL-3.0-or-later
"""A part and what was decided of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class PartVerdict(StrEnum):
    """What is said of a part. Stable: exported, and sent to other systems."""

    ACCEPT = "accept"
    WARN = "warn"
    REJECT = "reject"
    NOT_INSPECTED = "not_inspected"


class PartCause(StrEnum):
    """Why a part was not inspected. Stable: exported."""

    NONE = ""
    TOO_FEW_INSPECTIONS = "too_few_inspections"
    """A camera inspected it less often than `min_looks` asks."""
    GAP = "gap"
    """Within its window there was a longer time without an inspection than the camera allows."""
    LATE = "late"
    """What was found of it was not known before its deadline."""
    LINE_AWAY = "line_away"
    """The line does not run, or does not answer."""
    CAMERA = "camera"
    """A camera of the lane was not inspected, or is DEGRADED: black, uniform or blurred."""
    LOG = "log"
    """Results, or the part itself, cannot be recorded."""
    RECIPE = "recipe"
    """The recipe changed within its window, or is not in force."""
    CHALLENGE = "challenge"
    """A challenge is failed or overdue, and the plan stops acceptance."""
    OVERLAP = "overlap"
    """Parts came closer together than their windows allow to tell them apart."""
    LANE_OFF = "lane_off"
    """The lane was not enabled by the PLC, or in fault."""
    CROSSING = "crossing"
    """The camera that makes it a part did not see it cross its line."""
    RESTART = "restart"
    """The process that decides began or ended while it passed."""


@dataclass(frozen=True, slots=True)
class PartRecord:
    """A part, decided. Moments are seconds since 1970 by our clock, lengths are milliseconds.

    `sequence` counts the parts of its lane and never goes back, also over restarts. `trigger` is the number that the
    PLC gave it, None where it gave none. `inspections` has for each camera how often it was inspected. `events` has the
    events that belong to it. `sent_after_ms` is how long after its trigger the decision left, None: it did not.
    """

    lane: str
    sequence: int
    part_id: str
    lot: str
    recipe: str
    trigger: int | None
    triggered_utc: float
    window_utc: tuple[float, float]
    deadline_utc: float
    decided_utc: float
    verdict: PartVerdict
    cause: PartCause
    inspections: Mapping[str, int] = field(hash=False)
    events: tuple[str, ...]
    sent_after_ms: float | None
    run_id: str
    is_simulated: bool
