# SPDX-License-Identifier: AGPL-3.0-or-later
"""What recorded clips showed: entries of their own kind in the journal of `reviews.sqlite`.

They test the software, not lamp, lens and camera. So nothing that asks what holds for a line reads them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from vision_line.challenges.clip_plan import PlannedClip
from vision_line.challenges.entry_bodies import ChallengeOutcome, EntryBody, PassOutcome
from vision_line.challenges.measuring import counted
from vision_line.errors import RunError
from vision_line.quality.challenge import ChallengeLimits
from vision_line.records.side_journal import append, newest
from vision_line.reviews.reviews_file import FILE_NAME, reading, writing

REPLAYED = "challenge_replayed"
#: So many newest entries are looked through: a year of nights.
_MOST = 400


class ClipResult(EntryBody):
    """One clip: which file and frames of it, with which settings of which camera, and what was found.

    `settings_sha256` is of the camera's settings under `recipe`, "" without one, as the records have them. The model
    is the one that inspected it; in entries of before it is that of all clips.
    """

    file: str
    sha256: str
    camera: str
    recipe: str = ""
    model_name: str = ""
    model_sha256: str = ""
    settings_sha256: str
    frames: int
    expects: frozenset[str]
    found: frozenset[str]
    outcome: PassOutcome

    @property
    def part(self) -> str:
        """What is counted by: the clip."""
        return self.file

    @property
    def missing(self) -> list[str]:
        """Expected classes that were not found."""
        return sorted(self.expects - self.found)


class ReplayBody(EntryBody):
    """All clips of one time: by whom, with which program and model, against which limits.

    The model is the run's own, or where that inspected none the one of the first clip.
    """

    by: str
    at_utc: float
    version: str
    model_name: str
    model_sha256: str
    device: str
    plan_sha256: str
    miss: float
    false_reject: float
    outcome: ChallengeOutcome
    why: tuple[str, ...]
    clips: tuple[ClipResult, ...]

    @property
    def models(self) -> list[tuple[str, str]]:
        """Name and SHA-256 of each model that inspected."""
        named = ((clip.model_name, clip.model_sha256) for clip in self.clips if clip.model_sha256)
        return list(dict.fromkeys(named)) or [(self.model_name, self.model_sha256)]


class InspectedClip(NamedTuple):
    """What was done with a clip: under which recipe and settings, by which model, and what it found in how much."""

    sha256: str
    recipe: str
    settings_sha256: str
    model_name: str
    model_sha256: str
    found: frozenset[str]
    frames: int


def clip_outcome(expects: Collection[str], found: Collection[str], frames: int) -> PassOutcome:
    """Say what became of a clip of which so many frames were inspected."""
    if not frames:
        return PassOutcome.NOT_INSPECTED
    if not expects:
        return PassOutcome.FALSELY_REJECTED if found else PassOutcome.ACCEPTED
    return PassOutcome.FOUND if {*expects} <= {*found} else PassOutcome.MISSED


def replay_outcome(clips: Sequence[ClipResult], limits: ChallengeLimits) -> tuple[ChallengeOutcome, tuple[str, ...]]:
    """Say what clips show together, and why."""
    counts = counted(clips)
    failures = tuple(counts.failures(limits))
    hidden = sum(one.outcome is PassOutcome.NOT_INSPECTED for one in clips)
    void = (f"{hidden} of {len(clips)} clips were not inspected",) if hidden else ()
    if failures and (counts.defective or counts.falsely_rejected):
        return ChallengeOutcome.FAILED, (*failures, *void)
    if failures or void:
        return ChallengeOutcome.VOID, (*void, *failures)
    return ChallengeOutcome.PASSED, ()


def clip_result(clip: PlannedClip, inspected: InspectedClip) -> ClipResult:
    """Return the result of a clip."""
    return ClipResult(
        file=clip.name,
        camera=clip.camera,
        expects=clip.expects,
        outcome=clip_outcome(clip.expects, inspected.found, inspected.frames),
        **inspected._asdict(),
    )


def enter_replay(directory: Path, body: ReplayBody) -> None:
    """Enter what clips showed.

    Raises:
        RunError: `reviews.sqlite` cannot be written.
    """
    with writing(directory) as connection:
        append(connection, REPLAYED, "", body.model_dump(mode="json"))


def recent_replays(directory: Path, days: float) -> list[ReplayBody]:
    """Return what clips showed in the last days, the newest first.

    Raises:
        RunError: `reviews.sqlite` cannot be read, or an entry is none of ours.
    """
    from_utc = time.time() - days * 86_400.0
    with reading(directory) as connection:
        found = [] if connection is None else newest(connection, [REPLAYED], _MOST)
    try:
        bodies = [ReplayBody.model_validate(entry.body) for entry in found]
    except ValidationError as exc:
        raise RunError(f"{FILE_NAME} has results of clips that are not as they are entered") from exc
    return [body for body in bodies if body.at_utc >= from_utc]
