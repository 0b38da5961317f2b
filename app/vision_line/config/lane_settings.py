# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[[lane]]` of `streams.toml`: where parts pass, which cameras see them, and by when a machine must know."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vision_line.config.optical_settings import OpticalSettings
from vision_line.documented import Documented

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

Span = Annotated[list[float], Field(min_length=2, max_length=2)]


class LaneSettings(Documented, BaseModel):
    """One lane: parts pass one behind the other, and each gets one verdict."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    name: str
    """Unique; letters, digits, `_`, `.`, `-`."""
    cameras: list[str] = Field(min_length=1)
    """The cameras that see each part; a part is accepted only where all of them inspected it."""
    parts: Literal["trigger", "optical"] = "trigger"
    """How a part is noticed: by a photo-eye (a PLC, MQTT, OPC UA, HTTP), or `optical`, by a camera itself."""
    optical: OpticalSettings | None = None
    """`[lane.optical]`, with `parts = "optical"`: what makes a part."""
    window_ms: Span | None = None
    """From when to when after its trigger the cameras see a part, negative: before it. This or `window_mm`."""
    window_mm: Span | None = None
    """The same as positions of the belt behind the photo-eye; needs `mm_per_count`, `belt_mm_per_s` and an encoder."""
    mm_per_count: float | None = Field(None, gt=0)
    """How far the belt moves with each count of the encoder."""
    camera_delay_ms: float = Field(0.0, ge=0, le=5000)
    """How much later than the light an image arrives: exposure, encoding and network of the slowest camera."""
    min_looks: int | None = Field(None, ge=1, le=10_000)
    """A part that a camera inspected less often is not inspected; never less than that camera needs."""
    accept_degraded: bool = False
    """true: parts are accepted though a camera is DEGRADED; for a background that is uniform where no part is."""
    ejector_mm: float | None = Field(None, gt=0)
    """From the photo-eye to the ejector. This with `belt_mm_per_s`, or `ejector_ms`."""
    belt_mm_per_s: float | None = Field(None, gt=0)
    """The fastest speed of the belt: what the encoder counts beyond it was not moved."""
    ejector_ms: float | None = Field(None, gt=0)
    """From the trigger to the moment when the ejector must move."""
    plc_scan_ms: float = Field(20.0, ge=0, le=1000)
    """The longest time between two looks of the PLC at the results."""
    actuator_ms: float = Field(50.0, ge=0, le=5000)
    """How long the ejector takes."""
    reserve_ms: float = Field(20.0, ge=0, le=5000)
    """What is left to spare."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"expected 1 to 64 letters, digits, '_', '.', '-', found {value!r}")
        return value

    @field_validator("window_ms", "window_mm")
    @classmethod
    def _span(cls, value: list[float] | None) -> list[float] | None:
        if value is not None and value[0] >= value[1]:
            raise ValueError(f"expected [begin, end] with begin before end, found {value}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> LaneSettings:
        if (self.optical is not None) != (self.parts == "optical"):
            raise ValueError('expected [lane.optical] with parts = "optical", and not without')
        if (self.window_ms is None) == (self.window_mm is None):
            raise ValueError("expected either window_ms or window_mm")
        if self.window_mm is not None:
            for key in ("mm_per_count", "belt_mm_per_s"):
                if getattr(self, key) is None:
                    raise ValueError(f"{key}: expected with window_mm")
        if (self.ejector_ms is None) == (self.ejector_mm is None or self.belt_mm_per_s is None):
            raise ValueError("expected either ejector_ms, or ejector_mm with belt_mm_per_s")
        return self
