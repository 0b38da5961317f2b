# SPDX-License-Identifier: AGPL-3.0-or-later
"""A challenge as people do it: begin, next part, end, break off. Each act is a commit, or is refused."""

from __future__ import annotations

import secrets
import sqlite3
import time
from pathlib import Path

from vision_line.challenges.acts import LONGEST_S, LineChallenge, challenges_since
from vision_line.challenges.challenge_history import history_in, read_history
from vision_line.challenges.challenge_targets import ChallengeTarget
from vision_line.challenges.entry_bodies import ActBody, BegunBody, ChallengeAct, ChallengeCriteria
from vision_line.errors import ConfigError
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import reading, writing


def begin(directory: Path, target: ChallengeTarget, plan_sha256: str, by: str) -> LineChallenge:
    """Begin a challenge of `target`, its order and positions drawn.

    Raises:
        ConfigError: one goes on at one of its cameras, or a part may not be used any more.
        RunError: `reviews.sqlite` cannot be written.
    """
    seed = secrets.token_hex(16)
    history = read_history(directory)  # before the transaction, in which others wait
    with writing(directory) as connection:
        now_utc = round(time.time(), 3)
        for other in open_challenges(connection, now_utc):
            if shared := {*other.begun.cameras} & {*target.cameras}:
                raise ConfigError(f"{', '.join(sorted(shared))}: {_goes_on(other)}: end or abort it first")
        if worn := target.worn(history_in(connection, history).part_passes(), now_utc):
            raise ConfigError(*worn)
        body = BegunBody(
            by=by,
            at_utc=now_utc,
            cameras=target.cameras,
            passes=target.drawn(seed),
            longest_pass_s=target.longest_pass_s,
            travel_s=target.travel_s,
            criteria=ChallengeCriteria(
                miss=target.miss, false_reject=target.false_reject, seed=seed, plan_sha256=plan_sha256
            ),
        )
        number = append(connection, ChallengeAct.BEGUN, target.name, body.model_dump(mode="json"))
    return LineChallenge(number, target.name, body)


def next_part(directory: Path, target: str, by: str) -> LineChallenge:
    """Begin the turn of the next part, which ends that of the one before.

    Raises:
        ConfigError: none goes on there, or all parts had their turn.
        RunError: `reviews.sqlite` cannot be written.
    """
    return _act(directory, target, ChallengeAct.PART, by)


def end(directory: Path, target: str, by: str) -> LineChallenge:
    """End the challenge, and with it the turn of the last part. Raises as `next_part`."""
    return _act(directory, target, ChallengeAct.ENDED, by)


def abort(directory: Path, target: str, by: str, why: str) -> LineChallenge:
    """Break the challenge off: it shows nothing, and its parts stay challenge parts. Raises as `next_part`."""
    return _act(directory, target, ChallengeAct.ABORTED, by, why)


def _act(directory: Path, target: str, kind: ChallengeAct, by: str, why: str = "") -> LineChallenge:
    with writing(directory) as connection:
        now_utc = round(time.time(), 3)
        found = [one for one in open_challenges(connection, now_utc) if one.target == target]
        if not found:
            raise ConfigError(f"no challenge of {target} goes on: it was ended, or nobody went on in time")
        if kind is ChallengeAct.PART and found[0].next_pass is None:
            raise ConfigError(f"{_goes_on(found[0])}, and all its parts had their turn: end it")
        body = ActBody(by=by, at_utc=now_utc, challenge=found[0].number, why=why)
        append(connection, kind, target, body.model_dump(mode="json"))
        return next(one for one in challenges_since(connection, now_utc) if one.number == found[0].number)


def open_challenges(connection: sqlite3.Connection, now_utc: float) -> list[LineChallenge]:
    """Return the challenges that go on.

    Raises:
        RunError: an entry is none of ours.
        sqlite3.Error: as it comes.
    """
    return [one for one in challenges_since(connection, now_utc) if one.is_open(now_utc)]


def going_on(directory: Path) -> list[LineChallenge]:
    """Return the challenges of a record directory that go on.

    Raises:
        RunError: `reviews.sqlite` cannot be read.
    """
    with reading(directory) as connection:
        return [] if connection is None else open_challenges(connection, time.time())


def recent(directory: Path, days: float) -> list[LineChallenge]:
    """Return the challenges of the last days, the oldest first.

    Raises:
        RunError: `reviews.sqlite` cannot be read.
    """
    from_utc = time.time() - days * LONGEST_S
    with reading(directory) as connection:
        found = [] if connection is None else challenges_since(connection, from_utc)
    return [one for one in found if one.begun.at_utc >= from_utc]


def _goes_on(challenge: LineChallenge) -> str:
    began = time.strftime("%H:%M", time.localtime(challenge.begun.at_utc))
    return f"the challenge of {challenge.target} that {challenge.begun.by} began at {began} goes on"
