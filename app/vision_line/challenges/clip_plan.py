# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[[clip]]` of `challenge.toml`: recorded footage that a camera's model and settings are tried on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from vision_line.config.models import Frozen

GOOD = "good"


class ReplayClipSettings(Frozen):
    """`[[clip]]`: one recorded clip."""

    file: str = Field(min_length=1)
    """The video, relative to this file. Unique."""
    camera: str
    """Name of the camera whose settings it is inspected with."""
    expects: Literal["good"] | list[str]
    """Classes all of which must be found; `"good"`: nothing may be found."""
    recipe: str | None = None
    """The recipe under which it is inspected, and so by which model; `""`: none; default: the one in force then."""

    @field_validator("expects")
    @classmethod
    def _named(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError('found no class, expected classes, or "good" for a clip without a defect')
        return value


@dataclass(frozen=True, slots=True)
class PlannedClip:
    """A clip of the plan; `name` is the file as the plan says it, `expects` nothing of a good one.

    `recipe` is None where the one counts that is in force at the camera.
    """

    name: str
    path: Path
    camera: str
    expects: frozenset[str]
    recipe: str | None = None


def planned_clip(clip: ReplayClipSettings, folder: Path) -> PlannedClip:
    """Return a clip of a plan that lies in `folder`."""
    expects = frozenset[str]() if clip.expects == GOOD else frozenset(clip.expects)
    return PlannedClip(clip.file, folder / clip.file, clip.camera, expects, clip.recipe)
