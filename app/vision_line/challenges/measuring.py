# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the records show of a challenge that was ended: derived once, and entered, so that it outlives the records."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from vision_line.challenges.acts import LineChallenge, awaiting_result
from vision_line.challenges.entry_bodies import (
    ChallengeAct,
    ChallengeOutcome,
    CountedPass,
    PassOutcome,
    PassResult,
    ResultBody,
)
from vision_line.frames import CameraState, Verdict
from vision_line.quality.challenge import ChallengeLimits, ChallengeResult
from vision_line.quality.part_windows import PartPass, SeenEvent, match_parts
from vision_line.records.schema import FILE_NAME, open_reader, translated
from vision_line.records.side_journal import append
from vision_line.reviews.reviews_file import reading, writing

#: How long after the last part the records are waited for: events of it may not be confirmed yet.
SETTLES_S = 2.0
#: After this time nothing more is waited for: what the records do not have was not inspected.
GIVES_UP_S = 20.0

Times = Sequence[tuple[float, float]]

_KNOWN = "coalesce(r.ended_utc, r.alive_utc, r.started_utc)"
_BEHIND = f"SELECT count(*) FROM runs r WHERE r.ended_utc IS NULL AND r.started_utc < ? AND {_KNOWN} < ?"  # noqa: S608  columns
#: What is called a defect; what was accepted is none for the line.
_EVENTS = """SELECT event_id, class, first_seen_utc, last_seen_utc FROM events
    WHERE first_seen_utc >= ? AND first_seen_utc < ? AND camera = ? AND verdict != ?"""
_OVER = ", ".join(f"'{state}'" for state in (CameraState.ENDED, CameraState.REMOVED))
#: From when to when a run had a camera: the last state says whether it still had it at the end.
_SPANS = f"""SELECT min(since_utc), min(known_utc, coalesce(max(over_utc), known_utc)) FROM (
    SELECT t.run, t.since_utc, {_KNOWN} AS known_utc, (
        SELECT iif(s.state IN ({_OVER}), s.at_utc, NULL) FROM states s
        WHERE s.run = t.run AND s.camera = t.name ORDER BY s.change DESC LIMIT 1) AS over_utc
    FROM cameras t JOIN runs r ON r.run = t.run WHERE t.name = ? AND r.started_utc < ? AND {_KNOWN} >= ?)
    GROUP BY run"""  # noqa: S608  the same
_GAPS = f"""SELECT t.started_utc, coalesce(t.ended_utc, {_KNOWN}, 9e15) FROM not_inspected t
    JOIN runs r ON r.run = t.run WHERE t.camera = ? AND t.started_utc < ?
    AND coalesce(t.ended_utc, 9e15) > ?"""  # noqa: S608  the same
_STEPS = "SELECT count(*) FROM clock_steps WHERE max(from_utc, to_utc) >= ? AND min(from_utc, to_utc) <= ?"
_HEAD = "SELECT number, lower(hex(digest)) FROM journal ORDER BY number DESC LIMIT 1"


def enter_results(directory: Path) -> list[LineChallenge]:
    """Enter the results of challenges that were ended, as far as the records reach; return those still without one.

    Where nothing waits, no file is written, and no writer has to wait.

    Raises:
        RunError: a file cannot be read, or `reviews.sqlite` not be written.
    """
    now_utc = time.time()
    with reading(directory) as connection:
        waiting = [] if connection is None else awaiting_result(connection, now_utc)
    found = [(one, _result(directory, one, now_utc)) for one in waiting]
    if any(result is not None for _, result in found):
        with writing(directory) as connection:
            still = {one.number for one in awaiting_result(connection, now_utc)}  # another program enters them too
            for challenge, result in found:
                if result is not None and challenge.number in still:
                    append(connection, ChallengeAct.RESULT, challenge.target, result.model_dump(mode="json"))
    return [challenge for challenge, result in found if result is None]


def _result(directory: Path, challenge: LineChallenge, now_utc: float) -> ResultBody | None:
    """Return the result by the records of a directory; None: they do not reach far enough yet."""
    path = directory / FILE_NAME
    with translated(path, "reading"), closing(open_reader(directory)) as connection:
        connection.execute("BEGIN")
        return measured(connection, challenge, now_utc)


def measured(connection: sqlite3.Connection, challenge: LineChallenge, now_utc: float) -> ResultBody | None:
    """Return what the records show of a challenge that is over; None: they do not reach far enough yet.

    Raises:
        sqlite3.Error: as it comes.
    """
    windows = challenge.windows()
    begin_utc = windows[0].start_s if windows else challenge.begun.at_utc
    end_utc = max([window.end_s for window in windows], default=begin_utc)
    settled_utc = end_utc + SETTLES_S
    (behind,) = connection.execute(_BEHIND, (end_utc, settled_utc)).fetchone()
    if end_utc - challenge.begun.travel_s <= now_utc < settled_utc or (behind and now_utc < end_utc + GIVES_UP_S):
        return None
    cameras = challenge.begun.cameras
    events = [event for camera in cameras for event in _events(connection, camera, begin_utc, end_utc)]
    gaps = [gap for camera in cameras for gap in _uninspected(connection, camera, begin_utc, end_utc)]
    passes, strays = match_parts(windows, events)
    results = tuple(
        _pass_result(one, planned.position, gaps) for one, planned in zip(passes, challenge.begun.passes, strict=False)
    )
    was_set = connection.execute(_STEPS, (begin_utc, end_utc)).fetchone()[0] > 0 or not _rises(challenge)
    outcome, why = _outcome(challenge, results, was_set=was_set)
    number, head = connection.execute(_HEAD).fetchone() or (0, "")
    return ResultBody(
        challenge=challenge.number,
        at_utc=challenge.over_utc or now_utc,
        outcome=outcome,
        why=tuple(why),
        passes=results,
        strays=len(strays),
        criteria=challenge.begun.criteria,
        record_number=number,
        record_head=head,
    )


def _events(connection: sqlite3.Connection, camera: str, begin_utc: float, end_utc: float) -> list[SeenEvent]:
    """Return what was first seen in the time; what began before is the line's own."""
    rows = connection.execute(_EVENTS, (begin_utc, end_utc, camera, Verdict.ACCEPT)).fetchall()
    return [SeenEvent(*row) for row in rows]


def _uninspected(connection: sqlite3.Connection, camera: str, begin_utc: float, end_utc: float) -> Times:
    """Return the parts of the time in which the camera was not inspected: no run had it, or its ledger says so."""
    spans = connection.execute(_SPANS, (camera, end_utc, begin_utc)).fetchall()
    gaps = [(start, end) for start, end in connection.execute(_GAPS, (camera, end_utc, begin_utc))]
    known_utc = begin_utc
    for start, end in sorted((start, end) for start, end in spans):
        if start > known_utc:
            gaps.append((known_utc, start))
        known_utc = max(known_utc, end)
    return [*gaps, (known_utc, end_utc)] if known_utc < end_utc else gaps


def _pass_result(one: PartPass, position: str, gaps: Times) -> PassResult:
    window = one.window
    is_hidden = any(start < window.end_s and end > window.start_s for start, end in gaps)
    return PassResult(
        part=window.part,
        expects=window.expected,
        position=position,
        from_utc=window.start_s,
        to_utc=window.end_s,
        outcome=_pass_outcome(one, has_gap=is_hidden or window.end_s <= window.start_s),
        events=tuple(event.key for event in one.events),
        missing=tuple(sorted(one.missing)),
    )


def _pass_outcome(one: PartPass, *, has_gap: bool) -> PassOutcome:
    """Say what became of a pass: what a gap may have hidden was not inspected, and neither missed nor accepted."""
    if one.found:
        return PassOutcome.FOUND
    if one.falsely_rejected:
        return PassOutcome.FALSELY_REJECTED
    if has_gap:
        return PassOutcome.NOT_INSPECTED
    return PassOutcome.MISSED if one.window.expected else PassOutcome.ACCEPTED


def _outcome(
    challenge: LineChallenge, results: Iterable[PassResult], *, was_set: bool
) -> tuple[ChallengeOutcome, list[str]]:
    """Say what the challenge showed and why: what fails fails also where more is missing."""
    results, planned, criteria = list(results), len(challenge.begun.passes), challenge.begun.criteria
    void = ["the clock was set meanwhile"] if was_set else []
    if hidden := sum(one.outcome is PassOutcome.NOT_INSPECTED for one in results):
        void.append(f"{hidden} of {planned} passes were not inspected")
    if len(results) < planned:
        void.append(f"{planned - len(results)} of {planned} passes were not made")
    counts = counted(results)
    failures = counts.failures(ChallengeLimits(criteria.miss, criteria.false_reject))
    if counts.defective and failures and not was_set:
        return ChallengeOutcome.FAILED, [*failures, *void]
    if void or failures:
        return ChallengeOutcome.VOID, [*void, *failures]
    return ChallengeOutcome.PASSED, []


def counted(results: Iterable[CountedPass]) -> ChallengeResult:
    """Count passes; those that were not inspected count nowhere."""
    by_outcome = dict.fromkeys(PassOutcome, 0)
    for one in results:
        by_outcome[one.outcome] += 1
    missed, rejected = by_outcome[PassOutcome.MISSED], by_outcome[PassOutcome.FALSELY_REJECTED]
    return ChallengeResult(
        by_outcome[PassOutcome.FOUND] + missed, missed, by_outcome[PassOutcome.ACCEPTED] + rejected, rejected
    )


def _rises(challenge: LineChallenge) -> bool:
    """Whether the acts follow each other on the clock."""
    over_utc = challenge.over_utc
    times = [challenge.begun.at_utc, *challenge.parts_utc, *([] if over_utc is None else [over_utc])]
    return all(one <= other for one, other in pairwise(times))
