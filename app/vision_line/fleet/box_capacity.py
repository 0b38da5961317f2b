# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one box can do, as a file: written by hand, or by `vision-line bench` with what it was measured on. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Rate = Annotated[float, Field(gt=0, le=1e6)]


class MeasuredOn(BaseModel):
    """What was measured, and on what."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    vision_line: str
    """Version of the program."""
    day_utc: str
    """When."""
    processor: str
    """As the kernel calls it."""
    cores: int
    """That the program could use."""
    load: float
    """Of the machine before it began: what else kept its cores busy."""
    device: str
    """What inspected."""
    model_sha256: str
    """Of the model's file."""
    cameras: int
    """How many such cameras were inspected at once as they should; one more were not, or were not tried."""
    more_not_tried: bool = False
    """Whether more were not tried: the box can do at least this."""
    size_wh: tuple[int, int]
    """Of their frames."""
    fps: float
    """Frames a second that each sent."""
    codec: str
    """How they were encoded."""
    inspect_fps: float
    """Inspections a second of each."""
    limit_ms: float
    """The latency that 99 of 100 inspections had to keep, from a frame's packet to its result."""
    latency_p99_ms: float
    """What they did keep."""
    decoded_mpixels_per_s: dict[str, float]
    """Million pixels a second that can be decoded where nothing is inspected, by codec."""
    inspections_alone_per_s: float
    """Inspections a second where nothing is decoded."""


class BoxCapacity(BaseModel):
    """The file of `vision-line node --capacity`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    inspections_per_s: Rate
    mpixels_per_s: Rate
    measured: MeasuredOn | None = None

    def doubts(self, processor: str, cores: int, model_sha256: str) -> Iterator[str]:
        """Yield why it may not hold for a run on this processor, with so many cores, with this model."""
        if self.measured is None:
            return
        then = {"processor": self.measured.processor, "cores": self.measured.cores, "model": self.measured.model_sha256}
        now = {"processor": processor, "cores": cores, "model": model_sha256}
        for name, value in now.items():
            if then[name] != value:
                yield (
                    f"this box's capacity was measured with {name} {str(then[name])[:60]}, and this is"
                    f" {str(value)[:60]}: vision-line bench measures it again"
                )
