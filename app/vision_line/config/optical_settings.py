# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[lane.optical]` of `streams.toml`: what makes a part where a camera sees it itself, without a photo-eye."""

from __future__ import annotations

from math import hypot
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vision_line.config.table_values import Point
from vision_line.documented import Documented

#: Where parts go, as unit vectors in the frame, whose y points down.
DIRECTIONS = {"right": (1.0, 0.0), "left": (-1.0, 0.0), "down": (0.0, 1.0), "up": (0.0, -1.0)}
#: The sine of the smallest angle, in a square frame, at which parts may meet the line.
_LEAST_SINE = 0.25


class OpticalSettings(Documented, BaseModel):
    """An object of one of these classes whose centre crosses the line is a part."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    camera: str
    """The camera that sees the parts cross: one of the lane's `cameras`."""
    classes: list[str] = Field(min_length=1)
    """The classes of the model that are a part, by name; mostly one, and no defect: see `accept_classes`."""
    line: Annotated[list[Point], Field(min_length=2, max_length=2)]
    """The ends of the line, [x, y] in 0..1 of the frame, as in `roi`."""
    direction: Literal["right", "left", "down", "up"]
    """Where parts go when they cross it, as seen in the frame."""

    @field_validator("line")
    @classmethod
    def _line(cls, value: list[list[float]]) -> list[list[float]]:
        if value[0] == value[1]:
            raise ValueError(f"expected two ends, found {value[0]} twice")
        return value

    @model_validator(mode="after")
    def _meets_line(self) -> OpticalSettings:
        (begin_x, begin_y), (end_x, end_y) = self.line
        dx, dy = end_x - begin_x, end_y - begin_y
        way = DIRECTIONS[self.direction]
        if abs(way[0] * dy - way[1] * dx) < _LEAST_SINE * hypot(dx, dy):
            raise ValueError(f"line: expected one that parts cross on their way {self.direction}, found one along it")
        return self
