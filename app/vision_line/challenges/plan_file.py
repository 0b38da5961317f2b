# SPDX-License-Identifier: AGPL-3.0-or-later
"""`challenge.toml`, beside `streams.toml`: which parts are passed, where and how often; each key with its bounds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from vision_line.challenges.challenge_targets import ChallengePart, ChallengeTarget, OnFail
from vision_line.challenges.clip_plan import GOOD, PlannedClip, ReplayClipSettings, planned_clip
from vision_line.config.load import LoadedConfig
from vision_line.config.models import Frozen
from vision_line.config.toml import Problem, TomlFile, problems_of, read_toml
from vision_line.quality.challenge import ChallengeLimits

DEFAULT_NAME = "challenge.toml"

_EVERY = re.compile(r"([1-9]\d{0,4})(m|h|d)")
_UNIT_S = {"m": 60, "h": 3600, "d": 86_400}
#: No interval is longer: a year.
_LONGEST_EVERY_S = 366 * 86_400

PartId = Annotated[str, Field(pattern=r"^[\w][\w .:/+-]{0,63}$")]
Position = Annotated[str, Field(min_length=1, max_length=64)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class PartSettings(Frozen):
    """`[[part]]`: one challenge part."""

    id: PartId
    """What is written on it. Unique."""
    expects: Literal["good"] | list[str]
    """Classes of its defects, all of which must be found; `"good"`: nothing may be found."""
    repeats: int = Field(1, ge=1, le=1000)
    """How often it is passed in one challenge."""
    made: date | None = None
    """When it was made or last checked: `2026-01-31`."""
    max_age_days: int | None = Field(None, ge=1, le=36_500)
    """From this age on, counted from `made`, no challenge begins with it."""
    max_passes: int | None = Field(None, ge=1)
    """After so many passes no challenge begins with it."""

    @field_validator("expects")
    @classmethod
    def _named(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError('found no class, expected classes, or "good" for a part without a defect')
        return value

    @model_validator(mode="after")
    def _fits(self) -> PartSettings:
        if self.max_age_days is not None and self.made is None:
            raise ValueError("max_age_days: found without made, expected the date from which on it counts")
        return self


class ChallengeLimitSettings(Frozen):
    """`[limits]`: what a challenge may miss and reject wrongly at most, as shares of its passes."""

    miss: Share = 0.02
    """Of defective parts."""
    false_reject: Share = 0.05
    """Of good parts."""


class ChallengeTargetSettings(Frozen):
    """`[[challenge]]`: a camera or a station that is challenged."""

    camera: str | None = None
    """Name of a camera; or"""
    station: str | None = None
    """name of a station: a part is found when any of its cameras finds it."""
    parts: list[str] = Field(default_factory=list)
    """Ids of the parts that are passed there; default: all."""
    every: str | None = None
    """How often, instead of the file's `every`."""
    on_fail: OnFail | None = None
    """Instead of the file's `on_fail`."""
    travel_s: float = Field(0.0, ge=0, le=600)
    """How long a part travels from where it is laid down until the camera sees it."""

    @model_validator(mode="after")
    def _one(self) -> ChallengeTargetSettings:
        if (self.camera is None) == (self.station is None):
            found = "neither" if self.camera is None else "both"
            raise ValueError(f"found {found}, expected camera or station")
        return self

    @field_validator("every")
    @classmethod
    def _every(cls, value: str | None) -> str | None:
        if value is not None:
            every_s(value)
        return value

    @property
    def target(self) -> str:
        """Its name."""
        return self.camera or self.station or ""


class PlanSettings(Frozen):
    """The whole file."""

    every: str
    """How often each target is challenged: `30m`, `8h`, `1d`. Required."""
    on_fail: OnFail = "alarm"
    """What a failed or overdue challenge does: `alarm`, or `stop`: the line also says that it is not ready."""
    longest_pass_s: float = Field(120.0, ge=1, le=3600)
    """A part whose turn lasts longer, or a challenge that nobody ends, is production again after this time."""
    positions: list[Position] = Field(default_factory=list)
    """Where parts can lie, such as `left`, `middle`, `right`: one of them is drawn for each pass."""
    limits: ChallengeLimitSettings = ChallengeLimitSettings()
    part: list[PartSettings] = Field(min_length=1)
    """The parts."""
    challenge: list[ChallengeTargetSettings] = Field(min_length=1)
    """What is challenged."""
    clip: list[ReplayClipSettings] = Field(default_factory=list, max_length=100)
    """Recorded clips for `vision-line challenge replay`."""

    @field_validator("every")
    @classmethod
    def _every(cls, value: str) -> str:
        every_s(value)
        return value


@dataclass(frozen=True, slots=True)
class ChallengePlan:
    """A valid file: its targets with all that their challenges depend on; those without an enabled camera are not."""

    path: Path
    sha256: str
    targets: tuple[ChallengeTarget, ...]
    clips: tuple[PlannedClip, ...]
    limits: ChallengeLimits


def every_s(text: str) -> float:
    """Return how long `30m`, `8h` or `1d` is, in seconds.

    Raises:
        ValueError: it is no such time.
    """
    found = _EVERY.fullmatch(text)
    seconds = int(found[1]) * _UNIT_S[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST_EVERY_S:
        raise ValueError(f"found {text!r}, expected a time such as 30m, 8h or 1d, at most 366d")
    return float(seconds)


def load_plan(loaded: LoadedConfig) -> ChallengePlan | None:
    """Read and check the plan of a configuration; None: it has none, and no `challenge.toml` lies beside it.

    Raises:
        ConfigError: all problems, each as `file:line: key: what was found, what was expected`.
    """
    named = loaded.config.challenge
    path = loaded.path.parent / (DEFAULT_NAME if named is None else named.file)
    if named is None and not path.exists():
        return None
    return checked_plan(read_toml(path), loaded)


def checked_plan(file: TomlFile, loaded: LoadedConfig) -> ChallengePlan:
    """Check what `file` says against the cameras of the configuration.

    Raises:
        ConfigError: as `load_plan`.
    """
    try:
        settings = PlanSettings.model_validate(file.data)
    except ValidationError as exc:
        raise file.error(problems_of(exc, PlanSettings)) from None
    if problems := [*_repeated(settings), *_unknown(settings, loaded), *_pointless(settings)]:
        raise file.error(problems)
    targets = (_target(settings, one, loaded) for one in settings.challenge)
    enabled = tuple(target for target in targets if target.cameras)
    return ChallengePlan(
        path=file.path,
        sha256=hashlib.sha256(file.text.encode()).hexdigest(),
        targets=enabled,
        clips=tuple(planned_clip(clip, file.path.absolute().parent) for clip in settings.clip),
        limits=ChallengeLimits(settings.limits.miss, settings.limits.false_reject),
    )


def unknown_part_classes(
    plan: ChallengePlan, classes: Sequence[str], of_clip: Callable[[PlannedClip], Sequence[str]]
) -> list[str]:
    """Return what parts and clips expect that cannot be found, a sentence each.

    `classes` are those of all models of the run, `of_clip` returns those of the models that may inspect a clip.
    """
    parts = {(f"part {part.id}", part.expects, (*classes,)) for target in plan.targets for part in target.parts}
    clips = {(f"clip {clip.name}", clip.expects, (*of_clip(clip),)) for clip in plan.clips}
    return [
        f"{plan.path}: {what} expects {name!r}, no class of the model, expected one of {', '.join(known)}"
        for what, expects, known in sorted(parts | clips, key=lambda one: one[0])
        for name in sorted(expects - {*known})
    ]


def _repeated(settings: PlanSettings) -> Iterator[Problem]:
    """Give what has a name that was there before."""
    ids = [part.id for part in settings.part]
    for index, name in enumerate(ids):
        if name in ids[:index]:
            yield ("part", index, "id"), f"{name!r} is already the id of part {ids.index(name) + 1}"
    files = [clip.file for clip in settings.clip]
    for index, name in enumerate(files):
        if name in files[:index]:
            yield ("clip", index, "file"), f"{name!r} is already the file of clip {files.index(name) + 1}"
    targets = [one.target for one in settings.challenge]
    for index, name in enumerate(targets):
        if name in targets[:index]:
            yield ("challenge", index), f"{name!r} is challenged already, expected each camera or station once"


def _unknown(settings: PlanSettings, loaded: LoadedConfig) -> Iterator[Problem]:
    """Give names of cameras, stations and parts that are none."""
    streams = loaded.config.stream
    known = {"camera": {one.name for one in streams}, "station": {one.station for one in streams} - {""}}
    ids = {part.id for part in settings.part}
    for index, one in enumerate(settings.challenge):
        for key, names in known.items():
            name = getattr(one, key)
            if name is not None and name not in names:
                yield ("challenge", index, key), f"found {name!r}, which {loaded.path.name} does not have"
        for name in one.parts:
            if name not in ids:
                yield ("challenge", index, "parts"), f"found {name!r}, expected ids of [[part]]"

    for index, clip in enumerate(settings.clip):
        if clip.camera not in known["camera"]:
            yield ("clip", index, "camera"), f"found {clip.camera!r}, which {loaded.path.name} does not have"
        if clip.recipe and clip.recipe not in loaded.config.recipe:
            yield ("clip", index, "recipe"), f"found {clip.recipe!r}, which {loaded.path.name} does not have"


def _pointless(settings: PlanSettings) -> Iterator[Problem]:
    """Give challenges that could show nothing about misses."""
    for index, one in enumerate(settings.challenge):
        if all(part.expects == GOOD for part in settings.part if not one.parts or part.id in one.parts):
            yield ("challenge", index, "parts"), "found good parts alone, which show nothing about misses"


def _target(settings: PlanSettings, one: ChallengeTargetSettings, loaded: LoadedConfig) -> ChallengeTarget:
    streams = loaded.config.enabled_streams
    return ChallengeTarget(
        name=one.target,
        is_station=one.station is not None,
        cameras=tuple(
            stream.name for stream in streams if one.target == (stream.name if one.camera else stream.station)
        ),
        parts=tuple(_part(part) for part in settings.part if not one.parts or part.id in one.parts),
        positions=tuple(settings.positions),
        every_s=every_s(one.every or settings.every),
        on_fail=one.on_fail or settings.on_fail,
        longest_pass_s=settings.longest_pass_s,
        travel_s=one.travel_s,
        miss=settings.limits.miss,
        false_reject=settings.limits.false_reject,
    )


def _part(part: PartSettings) -> ChallengePart:
    return ChallengePart(
        id=part.id,
        expects=frozenset() if part.expects == GOOD else frozenset(part.expects),
        repeats=part.repeats,
        made=part.made,
        max_age_days=part.max_age_days,
        max_passes=part.max_passes,
    )
