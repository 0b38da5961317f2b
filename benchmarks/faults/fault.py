# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fault: what it does to a scene, and what must hold of vision-line meanwhile; checked here. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path

from tests.fakes.rtsp.raw_server import RawCamera

from benchmarks.faults.clock import AGREE_S, WallClock
from benchmarks.faults.outcome import Outcome
from benchmarks.faults.quiet import BUSY_SHARE
from benchmarks.faults.relay import Relay
from benchmarks.faults.site import Camera, Site
from benchmarks.faults.subject import Subject

#: A run that was told to end by SIGTERM; all that it took is recorded.
EXIT_INTERRUPTED = 130


@dataclass(slots=True)
class Scene:
    """What a fault can lay hands on."""

    site: Site
    camera: Camera  # the victim's server
    subjects: list[Subject]
    cameras: int  # that each subject has
    disk: Path  # where the records go; a file system of its own where the fault needs one
    clock: WallClock
    relay: Relay | None = None  # before the victim's server

    def signal(self, number: int) -> None:
        """Send all subjects a signal."""
        for subject in self.subjects:
            subject.signal(number)

    def kill(self) -> None:
        """Kill all subjects."""
        for subject in self.subjects:
            subject.kill()

    def start(self) -> None:
        """Start all subjects and wait until they inspect their cameras."""
        for subject in self.subjects:
            subject.launch()
        for subject in self.subjects:
            subject.wait(self.cameras)

    def delay(self, delay_s: float, jitter_s: float = 0.0) -> None:
        """Have the link to the victim take so long in each direction."""
        relay = self._link()
        relay.delay_s, relay.jitter_s = delay_s, jitter_s

    def stall(self, *, stalled: bool) -> None:
        """Let nothing through the link to the victim, or let it go again."""
        self._link().stall(stalled=stalled)

    def _link(self) -> Relay:
        if self.relay is None:
            raise RuntimeError("this fault needs a relay: Fault.needs_relay")
        return self.relay


def nothing(scene: Scene) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong for `lasts_s`, and what must hold.

    `causes` are the beginnings of the causes that the ledger may give. `everyone`: all cameras suffer, else the victim.
    `reported_s` is how much at least must be in the ledger; None: nearly all of it, as nobody can inspect the camera
    then. `alone`: the subjects meet it one after the other, as beside each other each would be part of the others'
    fault.
    """

    name: str
    what: str
    lasts_s: float
    causes: tuple[str, ...]
    begin: Callable[[Scene], None] = nothing
    end: Callable[[Scene], None] = nothing
    everyone: bool = False
    reported_s: float | None = None
    exit_code: int = EXIT_INTERRUPTED
    back_within_s: float = 5.0
    alone: bool = False
    needs_networks: bool = False
    needs_mount: bool = False
    needs_relay: bool = False
    raw: Callable[[], RawCamera] | None = None  # a camera that has the fault from its start on
    is_damaged: Callable[[int], bool] | None = None  # of a frame's number; such ones must be counted
    offsets_s: tuple[float, ...] = ()  # how far ahead the program's wall clock is from the begin on, and from the end

    @property
    def steps_s(self) -> list[float]:
        """By how much the wall clock is set, each time."""
        return [after - before for before, after in pairwise((0.0, *self.offsets_s))] if self.offsets_s else []


@dataclass(frozen=True, slots=True)
class Broken:
    """What did not hold, a few words each.

    `silent` holds on every machine. `timed` is measured in seconds: true of this program only on a quiet machine.
    """

    silent: list[str] = field(default_factory=list)
    timed: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether anything did not hold."""
        return bool(self.silent or self.timed)

    def __add__(self, other: Broken) -> Broken:
        """Return what did not hold of either."""
        return Broken(self.silent + other.silent, self.timed + other.timed)

    def is_clear(self, foreign: float) -> bool:
        """Whether it is broken for certain, if others used so much of the machine (0 to 1)."""
        return bool(self.silent) or (bool(self.timed) and foreign < BUSY_SHARE)

    def __str__(self) -> str:
        """Return all of it in one line."""
        return "; ".join((*self.silent, *self.timed))


def broken_promises(fault: Fault, outcome: Outcome) -> Broken:
    """Return what did not hold of vision-line."""
    return Broken(list(_silent(fault, outcome)), list(_timed(fault, outcome)))


def _silent(fault: Fault, outcome: Outcome) -> list[str]:
    """What was not said, or said wrongly: no machine is an excuse for that."""
    broken = []
    must_report_s = fault.lasts_s - 1.0 if fault.reported_s is None else fault.reported_s
    if outcome.reported_s < must_report_s:
        broken.append(f"{outcome.reported_s:.1f} s are in the ledger, at least {must_report_s:.1f} s must be")
    if outcome.exit_code != fault.exit_code:
        broken.append(f"exit code {outcome.exit_code} instead of {fault.exit_code}")
    if fault.is_damaged and not outcome.damaged:
        broken.append("no frame was counted as damaged")
    if not _agree(outcome.steps_s, fault.steps_s):
        broken.append(f"steps of the clock: reported {list(outcome.steps_s)}, made {fault.steps_s}")
    if outcome.misplaced:
        broken.append(f"{outcome.misplaced} rows under a time that is not theirs")
    return broken


def _timed(fault: Fault, outcome: Outcome) -> list[str]:
    """What was lost, was late, or had another cause: what a machine does that others use."""
    broken = []
    if outcome.others_lost_s > 0:
        broken.append(f"the others were not inspected for {outcome.others_lost_s:.1f} s")
    if fault.back_within_s < inf and (outcome.back_s is None or outcome.back_s > fault.back_within_s):
        broken.append(f"not back within {fault.back_within_s:g} s")
    strange = [cause for cause in outcome.causes if not cause.startswith(fault.causes)]
    if strange:
        broken.append(f"wrong cause: {', '.join(strange)}")
    if outcome.old:
        broken.append(f"{outcome.old} results on frames up to {outcome.oldest_s:.1f} s old")
    return broken


def _agree(reported: tuple[float, ...], made: list[float]) -> bool:
    return len(reported) == len(made) and all(abs(a - b) < AGREE_S for a, b in zip(reported, made, strict=True))
