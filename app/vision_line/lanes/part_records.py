# SPDX-License-Identifier: AGPL-3.0-or-later
"""A decided part as it is recorded. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vision_line.lanes.lane_machine import DecidedPart
from vision_line.parts.part import PartCause, PartRecord, PartVerdict


@dataclass(frozen=True, slots=True)
class RecordFrame:
    """What all parts of a moment share: the run, and by how much UTC is ahead of the monotonic clock."""

    run_id: str
    is_simulated: bool
    utc_ahead_s: float


def part_record(decided: DecidedPart, frame: RecordFrame, lot: str) -> PartRecord:
    """Return what is recorded of a part; `lot` is the one in force at its moment."""
    decision, part = decided.decision, decided.part
    ahead_s, at_s = frame.utc_ahead_s, decision.trigger.at_s
    return PartRecord(
        lane=decision.lane,
        sequence=decision.sequence,
        part_id=decision.trigger.part_id,
        lot=lot if decision.trigger.lot is None else decision.trigger.lot,
        recipe=part.recipe or _seen_recipe(decided),
        trigger=decision.trigger.number,
        triggered_utc=_millis(at_s + ahead_s),
        window_utc=(_millis(decided.window_s[0] + ahead_s), _millis(decided.window_s[1] + ahead_s)),
        deadline_utc=_millis(decision.deadline_s + ahead_s),
        decided_utc=_millis(decision.decided_s + ahead_s),
        verdict=decision.verdict,
        cause=decision.cause,
        inspections=decided.inspections,
        events=decided.events,
        sent_after_ms=round((decision.decided_s - at_s) * 1000, 1)
        if decision.decided_s < decision.deadline_s
        else None,
        run_id=frame.run_id,
        is_simulated=frame.is_simulated,
    )


def diverted(decided: DecidedPart, cause: PartCause) -> DecidedPart:
    """Return a part that was to be accepted, as not inspected."""
    return replace(decided, decision=replace(decided.decision, verdict=PartVerdict.NOT_INSPECTED, cause=cause))


def _seen_recipe(decided: DecidedPart) -> str:
    recipes = {recipe for view in decided.part.views.values() for recipe in view.recipes}
    return recipes.pop() if len(recipes) == 1 else ""


def _millis(seconds: float) -> float:
    return round(seconds, 3)
