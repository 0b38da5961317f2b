# SPDX-License-Identifier: AGPL-3.0-or-later
"""What of the messages is a result in the sense of OPC 40001-101, and how it is evaluated. Pure.

Where an output asks for parts, a part is a result; elsewhere a defect's event is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum

from vision_line.outputs.notification import Notification

PART = "part"
EVENT = "event"


class ResultEvaluation(IntEnum):
    """`ResultEvaluationEnum` of OPC 40001-101."""

    UNDEFINED = 0
    OK = 1
    NOT_OK = 2
    NOT_DECIDABLE = 3


#: `ResultEvaluationCode` is the verdict as the PLC's map has it. What is unknown is never OK.
_EVALUATIONS = {
    "accept": (ResultEvaluation.OK, 1),
    "warn": (ResultEvaluation.OK, 2),
    "reject": (ResultEvaluation.NOT_OK, 3),
    "not_inspected": (ResultEvaluation.NOT_DECIDABLE, 4),
}
_UNKNOWN = (ResultEvaluation.NOT_DECIDABLE, 0)


@dataclass(frozen=True, slots=True)
class InspectionResult:
    """One result: `id` names it for `GetResultById`, `source` is its lane or camera, `at` the inspection's time."""

    id: str
    said: Notification
    source: str
    verdict: str
    evaluation: ResultEvaluation
    code: int
    details: str
    at: datetime
    began: datetime
    is_partial: bool
    is_simulated: bool
    part_id: str
    lot: str
    recipe: str


def result_kind(kinds: Sequence[str]) -> str:
    """Return the kind whose messages are results for an output that asks for `kinds`."""
    return PART if PART in kinds else EVENT


def result_of(said: Notification) -> InspectionResult | None:
    """Return the result that a message is, None: it is another one, was taken back, or cannot be read."""
    if said.content.get("withdrawn") or said.content.get("unreadable"):
        return None
    if said.kind == PART:
        return _part(said)
    return _event(said) if said.kind == EVENT else None


def _part(said: Notification) -> InspectionResult:
    verdict, cause = _text(said, "verdict"), _text(said, "cause")
    return _result(
        said,
        id_=said.id,
        source=_text(said, "lane"),
        verdict=verdict,
        details=f"{verdict}: {cause}" if cause else verdict,
        times=("triggered_utc", "decided_utc"),
        is_partial=False,
    )


def _event(said: Notification) -> InspectionResult:
    verdict = _text(said, "verdict")
    return _result(
        said,
        id_=_text(said, "event_id") or said.id,
        source=said.camera or "",
        verdict=verdict,
        details=f"{verdict}: {said.class_name or ''}",
        times=("first_seen_utc", "last_seen_utc"),
        is_partial=not said.content.get("ended"),
    )


def _result(
    said: Notification,
    *,
    id_: str,
    source: str,
    verdict: str,
    details: str,
    times: tuple[str, str],
    is_partial: bool,
) -> InspectionResult:
    evaluation, code = _EVALUATIONS.get(verdict, _UNKNOWN)
    began, at = (_moment(said, name) for name in times)
    return InspectionResult(
        id=id_,
        said=said,
        source=source,
        verdict=verdict,
        evaluation=evaluation,
        code=code,
        details=details,
        at=at,
        began=began,
        is_partial=is_partial,
        is_simulated=said.content.get("is_simulated") is True,
        part_id=_text(said, "part_id"),
        lot=_text(said, "lot"),
        recipe=_text(said, "recipe"),
    )


def said_at(said: Notification) -> datetime:
    """Return when an entry was made, in UTC."""
    return datetime.fromtimestamp(said.at_utc, UTC)


def _text(said: Notification, name: str) -> str:
    value = said.content.get(name)
    return "" if value is None else str(value)


def _moment(said: Notification, name: str) -> datetime:
    """Return a moment of the content, that of the entry where it has none that can be read."""
    try:
        return datetime.fromisoformat(_text(said, name))
    except ValueError:
        return said_at(said)
