# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a client wants to hear of, and what all of them together do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError

from vision_line.feed.protocol import FeedFormatError, Header

#: Stands for every camera.
EVERY_CAMERA = "*"
#: The longest that a client lets anything wait, and that snapshots can be apart, in seconds.
MOST_PATIENCE_S = 1.0
MOST_APART_S = 2.0


class FrameChoice(StrEnum):
    """Which encoded frames of a camera."""

    NOTHING = "nothing"
    KEYFRAMES = "keyframes"
    ALL = "all"


class Want(BaseModel):
    """What a client wants from now on; the newest one counts, whole. Without one it gets `hello` alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["want"] = "want"
    snapshots: StrictBool = False
    decisions: StrictBool = False
    journal: StrictBool = False
    #: A message each 100 ms, whatever else there is to say.
    beats: StrictBool = False
    #: Cameras whose inspected frames are wanted, `*` for all.
    results: frozenset[StrictStr] = frozenset()
    #: Cameras of which only the inspected frames that came as keyframes are wanted, `*` for all.
    keyframe_results: frozenset[StrictStr] = frozenset()
    #: Cameras, `*` for all others, and which of their encoded frames are wanted.
    frames: dict[StrictStr, FrameChoice] = Field(default_factory=dict)
    #: How long results, snapshots and keyframes may wait to come with something else, in seconds; not those of a
    #: camera of which all frames are wanted.
    patience_s: StrictFloat | StrictInt = Field(default=0, ge=0, le=MOST_PATIENCE_S)
    #: Whether those wait as long too.
    frames_wait: StrictBool = False
    #: How long after a snapshot the next one is wanted, in seconds; 0: as often as there are any.
    snapshots_apart_s: StrictFloat | StrictInt = Field(default=0, ge=0, le=MOST_APART_S)
    #: Results have their boxes alone, without events and followed objects.
    brief: StrictBool = False

    @property
    def header(self) -> Header:
        """The message that says it. What is not wanted is left out: an older run refuses keys that it does not know."""
        return {"kind": self.kind, **self.model_dump(mode="json", exclude_defaults=True)}

    @property
    def is_patient(self) -> bool:
        """Whether what can wait may wait."""
        return self.patience_s > 0

    def wakes_for_frames_of(self, camera: str) -> bool:
        """Whether a camera's encoded frames are wanted at once."""
        choice = self.frames_of(camera)
        if choice is FrameChoice.ALL:
            return not (self.is_patient and self.frames_wait)
        return choice is FrameChoice.KEYFRAMES and not self.is_patient

    def frames_of(self, camera: str) -> FrameChoice:
        """Return which encoded frames of a camera are wanted."""
        return self.frames.get(camera, self.frames.get(EVERY_CAMERA, FrameChoice.NOTHING))

    @property
    def wants_results(self) -> bool:
        """Whether the results of any camera are wanted."""
        return bool(self.results or self.keyframe_results)

    def wants_result(self, camera: str, *, keyframe: bool) -> bool:
        """Whether the result of a camera's frame, which came as a keyframe or not, is wanted."""
        return _has(self.results, camera) or (keyframe and _has(self.keyframe_results, camera))

    def unknown(self, cameras: Iterable[str]) -> list[str]:
        """Return the cameras that are named and not among `cameras`: misspelt, or still to come."""
        return sorted({*self.results, *self.keyframe_results, *self.frames} - {EVERY_CAMERA, *cameras})


#: What a client wants that has not said anything yet.
NOTHING_YET = Want()
#: What a client may say that wants something, for `hello`: a client cannot know otherwise what an older run refuses.
WANT_KEYS = tuple(key for key in Want.model_fields if key != "kind")


def read_want(header: Header) -> Want:
    """Return the wishes in the header of a client's message.

    Raises:
        FeedFormatError: it is another message, or has a key or value that does not exist.
    """
    try:
        return Want.model_validate(header)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise FeedFormatError(f"want: {ascii(place)[1:-1]}: {first['msg']}") from exc


@dataclass(frozen=True, slots=True)
class FeedDemand:
    """What is wanted by any client, for those who would make it."""

    snapshots: bool = False
    decisions: bool = False
    journal: bool = False
    results: frozenset[str] = frozenset()
    keyframe_results: frozenset[str] = frozenset()
    snapshots_wake: bool = False
    results_wake: bool = False
    snapshots_apart_s: float = 0.0  # of who wants them most often
    objects: bool = False  # whether any result is wanted whole

    @property
    def is_of_scheduler(self) -> bool:
        """Whether anything is wanted that the scheduler's thread makes."""
        return self.decisions or bool(self.results or self.keyframe_results)

    def wants_result(self, camera: str, *, keyframe: bool) -> bool:
        """Whether anybody wants the result of a camera's frame, which came as a keyframe or not."""
        return _has(self.results, camera) or (keyframe and _has(self.keyframe_results, camera))


def demand_of(wants: Sequence[Want]) -> FeedDemand:
    """Return what all clients want together."""
    return FeedDemand(
        snapshots=any(want.snapshots for want in wants),
        decisions=any(want.decisions for want in wants),
        journal=any(want.journal for want in wants),
        results=frozenset(chain.from_iterable(want.results for want in wants)),
        keyframe_results=frozenset(chain.from_iterable(want.keyframe_results for want in wants)),
        snapshots_wake=any(want.snapshots and not want.is_patient for want in wants),
        results_wake=any(want.wants_results and not want.is_patient for want in wants),
        snapshots_apart_s=min((want.snapshots_apart_s for want in wants if want.snapshots), default=0.0),
        objects=any(want.wants_results and not want.brief for want in wants),
    )


def are_apart(earlier_s: float, now_s: float, apart_s: float) -> bool:
    """Return whether so much time has passed; snapshots come each quarter of a second, a little sooner or later."""
    return now_s - earlier_s >= apart_s - 0.1


def frames_demanded(wants: Iterable[Want], camera: str) -> FrameChoice:
    """Return the most that anybody wants of a camera's encoded frames."""
    choices = {want.frames_of(camera) for want in wants}
    return max(choices, key=tuple(FrameChoice).index, default=FrameChoice.NOTHING)


def frames_wake(wants: Iterable[Want], camera: str) -> bool:
    """Return whether anybody wants a camera's encoded frames at once."""
    return any(want.wakes_for_frames_of(camera) for want in wants)


def _has(cameras: frozenset[str], camera: str) -> bool:
    return camera in cameras or EVERY_CAMERA in cameras
