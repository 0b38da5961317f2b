# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is a result, and how it is evaluated."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from vision_line.outputs.notification import Notification
from vision_line.outputs.opcua.inspection_results import ResultEvaluation, result_kind, result_of

PART = {
    "lane": "lane 1",
    "part_id": "PCB-77",
    "lot": "L9",
    "recipe": "7",
    "verdict": "not_inspected",
    "cause": "capacity",
    "triggered_utc": "2026-11-28T20:00:01.000000Z",
    "decided_utc": "2026-11-28T20:00:02.500000Z",
    "is_simulated": True,
}


def part(**changed: object) -> Notification:
    content = {**PART, **changed}
    return Notification("parts:5", 5, "part", 1_795_896_009.0, content, verdict=str(content["verdict"]), lane="lane 1")


@pytest.mark.parametrize(
    ("verdict", "evaluation", "code"),
    [
        ("accept", ResultEvaluation.OK, 1),
        ("warn", ResultEvaluation.OK, 2),
        ("reject", ResultEvaluation.NOT_OK, 3),
        ("not_inspected", ResultEvaluation.NOT_DECIDABLE, 4),
        ("something new", ResultEvaluation.NOT_DECIDABLE, 0),
    ],
)
def test_what_is_unknown_is_never_ok(verdict: str, evaluation: ResultEvaluation, code: int) -> None:
    """The code says which verdict it was."""
    found = result_of(part(verdict=verdict))
    assert found is not None

    assert (found.evaluation, found.code) == (evaluation, code)


def test_a_part_is_a_whole_result() -> None:
    """With its own times, not those of the entry."""
    found = result_of(part())
    assert found is not None

    assert (found.id, found.source, found.part_id, found.lot, found.recipe) == (
        "parts:5",
        "lane 1",
        "PCB-77",
        "L9",
        "7",
    )
    assert found.at == datetime(2026, 11, 28, 20, 0, 2, 500_000, UTC)
    assert found.began == datetime(2026, 11, 28, 20, 0, 1, tzinfo=UTC)
    assert (found.details, found.is_partial, found.is_simulated) == ("not_inspected: capacity", False, True)


def test_an_event_is_partial_until_it_ends() -> None:
    """And is known by its own id however often it changes."""
    content = {"event_id": "e1", "verdict": "reject", "ended": False}
    found = result_of(Notification("run:3", 3, "event", 1_795_896_009.0, content, "cam1", "open", "reject"))
    assert found is not None

    assert (found.id, found.source, found.is_partial, found.details) == ("e1", "cam1", True, "reject: open")
    assert found.at.timestamp() == 1_795_896_009.0


@pytest.mark.parametrize("content", [{"withdrawn": True, "key": "e1"}, {"unreadable": True}])
def test_what_was_taken_back_is_no_result(content: dict[str, object]) -> None:
    assert result_of(Notification("run:3", 3, "event", 0.0, content)) is None


def test_parts_go_before_events() -> None:
    """Where both are asked for, one defect is not two results."""
    assert result_kind(["event", "state"]) == "event"
    assert result_kind(["event", "part"]) == "part"
