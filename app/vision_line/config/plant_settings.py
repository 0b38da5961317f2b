# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `plant.toml` has beyond `streams.toml`: `[fleet]`, and what a camera is where several boxes could inspect it."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import Field, field_validator

from vision_line.config.models import Frozen
from vision_line.config.table_values import NODE_NAME


class FleetSettings(Frozen):
    """`[fleet]`: what holds for all boxes."""

    camera_networks: list[str] = Field(default_factory=list)
    """Networks in which cameras may be, as `10.0.0.0/16`; their URLs then have IP addresses. Default: anywhere."""
    camera_mpixels_s: float = Field(52.0, gt=0, le=10_000)
    """What a camera sends until a box has seen it, in million pixels a second: 1920x1080 at 25 frames a second."""

    @field_validator("camera_networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            try:
                ip_network(network)
            except ValueError as exc:
                raise ValueError(f"expected a network such as 10.0.0.0/16, found {network!r}") from exc
        return value


class PlantCamera(Frozen):
    """Further keys of `[[stream]]` in `plant.toml`."""

    priority: int = Field(0, ge=0, le=100)
    """Where there is no room for all, the cameras of the lowest number are given up."""
    sessions: int = Field(2, ge=1, le=16)
    """How many clients the camera serves at once; with 1 it is closed on one box before another opens it."""
    reachable_from: list[str] = Field(default_factory=list)
    """Only boxes with one of these labels, or of these names, can reach it; default: all."""
    pin: str = ""
    """The name of the only box that may inspect it, such as the one that is wired to its ejector."""

    @field_validator("pin")
    @classmethod
    def _pin(cls, value: str) -> str:
        if value and not NODE_NAME.fullmatch(value):
            raise ValueError(f"expected the name of a box: letters, digits, '_', '-', found {value!r}")
        return value
