# SPDX-License-Identifier: AGPL-3.0-or-later
"""Targets and acts of challenges, without a file and without waiting."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from vision_line.challenges.challenge_targets import ChallengePart, ChallengeTarget
from vision_line.challenges.clip_results import ClipResult, InspectedClip, ReplayBody
from vision_line.challenges.entry_bodies import (
    ActBody,
    BegunBody,
    ChallengeAct,
    ChallengeCriteria,
    ChallengeOutcome,
    PlannedPass,
)
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import writing

CRITERIA = ChallengeCriteria(miss=0.02, false_reject=0.05, seed="1", plan_sha256="")


def target(name: str = "cam01", *cameras: str, on_fail: str = "alarm", every_s: float = 28_800.0) -> ChallengeTarget:
    """Return a target with a defective part, passed twice, and a good one."""
    return ChallengeTarget.model_validate(
        {
            "name": name,
            "is_station": bool(cameras),
            "cameras": cameras or (name,),
            "parts": [
                ChallengePart(id="A17", expects=frozenset({"open"}), repeats=2),
                ChallengePart(id="G1", expects=frozenset(), repeats=1),
            ],
            "positions": ["left", "right"],
            "every_s": every_s,
            "on_fail": on_fail,
            "longest_pass_s": 60.0,
            "travel_s": 0.0,
            "miss": 0.02,
            "false_reject": 0.05,
        }
    )


def planned(text: str) -> tuple[PlannedPass, ...]:
    """Return passes by a text such as `A:open B: C:open,short`; without a class it is a good part."""
    named = (word.partition(":") for word in text.split())
    return tuple(PlannedPass(part=part, expects=frozenset(filter(None, of.split(",")))) for part, _, of in named)


def begun(
    cameras: tuple[str, ...], passes: tuple[PlannedPass, ...], at_utc: float, longest_s: float = 60.0
) -> BegunBody:
    """Return what begins a challenge."""
    return BegunBody(
        by="anna", at_utc=at_utc, cameras=cameras, passes=passes, longest_pass_s=longest_s, criteria=CRITERIA
    )


def enter_begun(connection: sqlite3.Connection, name: str, body: BegunBody) -> int:
    """Enter a beginning, and return its number."""
    return append(connection, ChallengeAct.BEGUN, name, body.model_dump(mode="json"))


def enter_act(connection: sqlite3.Connection, name: str, kind: ChallengeAct, challenge: int, at_utc: float) -> None:
    """Enter a later act."""
    append(connection, kind, name, ActBody(by="anna", challenge=challenge, at_utc=at_utc).model_dump(mode="json"))


def challenged(directory: Path, camera: str, from_utc: float, to_utc: float) -> None:
    """Enter a challenge that was broken off, whose one part was before the camera in [from_utc, to_utc)."""
    with writing(directory) as connection:
        number = enter_begun(connection, camera, begun((camera,), planned("A:open"), from_utc))
        enter_act(connection, camera, ChallengeAct.PART, number, from_utc)
        enter_act(connection, camera, ChallengeAct.ABORTED, number, to_utc)


def inspected_clip(found: str, frames: int = 9, recipe: str = "", model: tuple[str, str] = ("", "")) -> InspectedClip:
    """Return what was done with a clip in which these classes were found."""
    return InspectedClip("0" * 64, recipe, "1" * 64, *model, frozenset(found.split()), frames)


def replayed(*clips: ClipResult, outcome: ChallengeOutcome) -> ReplayBody:
    """Return what clips showed just now."""
    return ReplayBody(
        by="anna",
        at_utc=round(time.time(), 3),
        version="1.0",
        model_name="pcb",
        model_sha256="2" * 64,
        device="cpu",
        plan_sha256="",
        miss=0.02,
        false_reject=0.05,
        outcome=outcome,
        why=(),
        clips=clips,
    )
