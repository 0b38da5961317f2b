# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a subject made of a fault: who lost what, how soon it was over, and whether it was reported. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.faults.clock import Setting, ambiguous, misplaced
from benchmarks.faults.subject import Account, Inspection, ReportedGap

#: A camera counts as inspected while inspections of fresh frames are no further apart (half of `dwell_s`).
GAP_S = 1.0
#: A frame is fresh when it is no older than `max_staleness_ms` and the time that inspecting it may take.
FRESH_S = 0.75


@dataclass(frozen=True, slots=True)
class Window:
    """When the fault was, on the monotonic clock, and when the run ended."""

    begun_s: float
    over_s: float
    ended_s: float
    epoch_s: float = 0.0  # true UTC - monotonic
    settings: tuple[Setting, ...] = ()  # of the program's wall clock


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the table shows of one subject."""

    others_lost_s: float  # how long the worst of the other cameras was not inspected
    back_s: float | None  # from the end of the fault until the victim is inspected again; None: not in this run
    blind_s: float  # how long the victim was not inspected
    reported_s: float  # how much of the fault itself the subject reports, for the victim of which it reports least
    causes: tuple[str, ...]
    old: int  # results on frames that were old, no frames, or the same again and again
    oldest_s: float
    damaged: int = 0  # frames that vision-line counted as damaged; that a peer inspected
    exit_code: int | None = None  # of a peer: where it ended by itself
    steps_s: tuple[float, ...] = ()  # by how much the wall clock was set, as the subject says
    misplaced: int = 0  # rows under a time that is not theirs


def evaluate_line(account: Account, window: Window, victims: Collection[str]) -> Outcome:
    """Evaluate vision-line by its ledger, and hold the ages of the frames with detections against it."""
    reported = [gap for gap in account.reported if gap.cause != "stopped" and _end(gap, window) > window.begun_s]
    mine = [gap for gap in reported if gap.camera in victims]
    ages = [seen.age_s for seen in account.inspections if seen.age_s is not None and seen.at_s > window.begun_s]
    during = Window(window.begun_s, window.over_s, window.over_s)
    return Outcome(
        others_lost_s=_worst_camera([gap for gap in reported if gap.camera not in victims], window),
        back_s=_back(max((_end(gap, window) for gap in mine), default=window.over_s), window),
        blind_s=_worst_camera(mine, window),
        reported_s=min(_seconds([gap for gap in mine if gap.camera == camera], during) for camera in victims),
        causes=tuple(sorted({gap.cause for gap in mine})),
        old=sum(age > FRESH_S for age in ages),
        oldest_s=max(ages, default=0.0),
        damaged=account.damaged,
        exit_code=account.exit_code,
        steps_s=account.steps_s,
        misplaced=misplaced(account.rows, window.epoch_s, window.settings),
    )


def evaluate_peer(
    account: Account, window: Window, victims: Collection[str], is_damaged: Callable[[int], bool] | None = None
) -> Outcome:
    """Evaluate a peer by the stamps of the frames that it inspected; it reports nothing."""
    fresh: dict[str, list[float]] = {camera: [] for camera in account.cameras}
    for seen in account.inspections:
        if is_fresh(seen):
            fresh[seen.camera].append(seen.at_s)
    mine = [seen for seen in account.inspections if seen.camera in victims and seen.at_s > window.begun_s]
    back_s = max((_first_after(fresh[camera], window) for camera in victims), default=window.over_s)
    return Outcome(
        others_lost_s=max((_unseen(fresh[c], window) for c in account.cameras if c not in victims), default=0.0),
        back_s=_back(back_s, window),
        blind_s=max(_unseen(fresh[camera], window) for camera in victims),
        reported_s=0.0,
        causes=(),
        old=sum(not is_fresh(seen) for seen in mine),
        oldest_s=max((seen.age_s for seen in mine if seen.age_s is not None), default=0.0),
        damaged=sum(seen.number is not None and is_damaged(seen.number) for seen in mine) if is_damaged else 0,
        exit_code=account.exit_code,
        misplaced=ambiguous(account.rows),
    )


def is_fresh(inspection: Inspection) -> bool:
    """Whether an inspection was of a frame of the present."""
    return inspection.age_s is not None and inspection.age_s <= FRESH_S


def _unseen(times: list[float], window: Window) -> float:
    """Return how long no inspection came within `GAP_S` of the one before, from the fault on."""
    points = [window.begun_s, *(at for at in times if at > window.begun_s), window.ended_s]
    gaps = (after - before for before, after in pairwise(points))
    return sum(gap for gap in gaps if gap > GAP_S)


def _first_after(times: list[float], window: Window) -> float:
    return next((at for at in times if at >= window.over_s), window.ended_s)


def _worst_camera(gaps: list[ReportedGap], window: Window) -> float:
    cameras = {gap.camera for gap in gaps}
    return max((_seconds([gap for gap in gaps if gap.camera == camera], window) for camera in cameras), default=0.0)


def _seconds(gaps: list[ReportedGap], window: Window) -> float:
    """Return how much of the time from the fault's begin to the end of `window` the gaps are, which do not overlap."""
    return sum(max(0.0, _end(gap, window) - max(gap.started_s, window.begun_s)) for gap in gaps)


def _back(at_s: float, window: Window) -> float | None:
    return None if at_s >= window.ended_s - 0.5 else max(0.0, at_s - window.over_s)


def _end(gap: ReportedGap, window: Window) -> float:
    return window.ended_s if gap.ended_s is None else min(gap.ended_s, window.ended_s)
