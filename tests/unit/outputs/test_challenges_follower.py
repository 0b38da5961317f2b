# SPDX-License-Identifier: AGPL-3.0-or-later
"""What challenges showed reaches an output that asks for it, and nothing else of what people decide does."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from tests.fakes.challenge_plans import CRITERIA

from vision_line.challenges.entry_bodies import (
    ChallengeAct,
    ChallengeOutcome,
    EntryBody,
    PassOutcome,
    PassResult,
    ResultBody,
)
from vision_line.config.output_settings import OutputKind, OutputSettings
from vision_line.outputs.cursor import MemoryCursors
from vision_line.outputs.follower import Follower
from vision_line.outputs.journal_sources import JournalSources
from vision_line.outputs.notification import Notification
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import FILE_NAME, writing


def entered(directory: Path, kind: str, body: EntryBody | dict[str, object]) -> None:
    with writing(directory) as connection:
        append(connection, kind, "line 1", body if isinstance(body, dict) else body.model_dump(mode="json"))


def passed(outcome: PassOutcome) -> PassResult:
    return PassResult(part="A17", expects=frozenset({"open"}), from_utc=1.0, to_utc=2.0, outcome=outcome)


RESULT = ResultBody(
    challenge=2,
    at_utc=1_795_896_009.5,
    outcome=ChallengeOutcome.FAILED,
    why=("1 of 2 missed",),
    passes=(passed(PassOutcome.FOUND), passed(PassOutcome.MISSED)),
    strays=0,
    criteria=CRITERIA,
    record_number=9,
    record_head="",
)


def heard_of(directory: Path, kinds: list[OutputKind]) -> list[Notification]:
    settings = OutputSettings(name="plant", since="all", kinds=kinds)
    with closing(JournalSources(directory)) as sources:
        found: list[Notification] = []
        for source in sources.followed(settings):
            follower = Follower(settings, source, MemoryCursors())
            while (batch := follower.next(20)) is not None:
                found += batch.messages
                follower.done(batch)
        return found


def test_a_result_is_one_message_and_accounts_are_none(tmp_path: Path) -> None:
    """Who passed the parts stays on the machine; an act of it is no news."""
    entered(tmp_path, "user_added", {"name": "anna", "password": "scrypt$..."})
    entered(tmp_path, ChallengeAct.BEGUN, {"by": "anna"})
    entered(tmp_path, ChallengeAct.RESULT, RESULT)
    entered(tmp_path, "event", {"by": "anna"})
    (said,) = heard_of(tmp_path, ["challenge", "event", "part"])

    assert (said.id, said.schema) == ("reviews:3", "vision-line.challenge/1")
    assert json.loads(json.dumps(said.content)) == {
        "run": None,
        "target": "line 1",
        "challenge": "reviews:2",
        "outcome": "failed",
        "why": ["1 of 2 missed"],
        "done_utc": "2026-11-28T20:00:09.500000Z",
        "passes": 2,
        "found": 1,
        "missed": 1,
        "accepted": 0,
        "falsely_rejected": 0,
        "not_inspected": 0,
        "strays": 0,
    }


def test_a_damaged_result_is_said_to_be_unreadable(tmp_path: Path) -> None:
    entered(tmp_path, ChallengeAct.RESULT, {"challenge": 2})
    (said,) = heard_of(tmp_path, ["challenge"])

    assert (said.id, said.kind, said.content) == ("reviews:1", "challenge", {"unreadable": True})


def test_who_does_not_ask_needs_no_right_to_read_the_file(tmp_path: Path) -> None:
    """It is its owner's alone; here it is not even a database."""
    (tmp_path / FILE_NAME).write_text("closed", encoding="ascii")

    assert heard_of(tmp_path, ["event", "part"]) == []
