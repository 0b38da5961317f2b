# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[recipe.NAME]` of `streams.toml`: what is inspected otherwise while that product is made.

Only what needs no new connection to a camera can be in a recipe: it is to hold from the next part on.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from vision_line.config.table_values import Polygon, Score
from vision_line.documented import Documented


class RecipeSettings(Documented, BaseModel):
    """What a recipe sets; a key that it does not set stays as the camera has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    cameras: list[str] | None = Field(None, min_length=1)
    """At which cameras its keys count; default: at all."""
    model: str | None = Field(None, min_length=1)
    """A bundle folder or an ONNX file, relative to this file, that inspects there; default: the model of the run."""
    roi: list[Polygon] | None = None
    """As of a camera."""
    classes: list[str] | None = None
    """As of a camera."""
    score_threshold: Score | None = None
    """As of a camera."""
    thresholds: dict[str, Score] | None = None
    """As of a camera; the whole table is replaced."""
    reject_threshold: Score | None = None
    """As of a camera."""
    reject_thresholds: dict[str, Score] | None = None
    """As of a camera; the whole table is replaced."""
    warn_threshold: Score | None = None
    """As of a camera."""
    warn_thresholds: dict[str, Score] | None = None
    """As of a camera; the whole table is replaced."""
    accept_classes: list[str] | None = None
    """As of a camera."""
    min_hits: int | None = Field(None, ge=1, le=100)
    """As of a camera."""
    min_looks: int | None = Field(None, ge=1, le=10_000)
    """As of a camera."""
    dwell_s: float | None = Field(None, gt=0, le=3600)
    """As of a camera."""
    max_inspection_gap_ms: float | None = Field(None, ge=10, le=3_600_000)
    """As of a camera."""

    @property
    def overrides(self) -> dict[str, object]:
        """The keys of a camera that it sets, and their values."""
        return self.model_dump(exclude_none=True, exclude={"cameras", "model"})

    def concerns(self, camera: str) -> bool:
        """Return whether its keys count at a camera."""
        return self.cameras is None or camera in self.cameras
