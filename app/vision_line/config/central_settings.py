# SPDX-License-Identifier: AGPL-3.0-or-later
"""`[central]` of `streams.toml`: the database that has the records of many boxes."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from vision_line.config.output_settings import checked_url
from vision_line.documented import Documented

_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class CentralSettings(Documented, BaseModel):
    """Keys of `[central]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    database: SecretStr
    """`postgresql://` with user, password, host, name: `postgresql://box1:{PLANT_PASSWORD}@db.plant/vision_line`."""
    node: str
    """What this box is called there, unique in the plant: letters, digits, `_`, `.`, `-`."""
    ship_detections: bool = False
    """true: each single box that was found goes too; some 17 million rows a day with 1000 cameras."""

    @field_validator("database", mode="before")
    @classmethod
    def _database(cls, value: object) -> SecretStr:
        return checked_url(value, ("postgresql", "postgres"))

    @field_validator("node")
    @classmethod
    def _node(cls, value: str) -> str:
        if not _NODE.fullmatch(value):
            raise ValueError(f"expected 1 to 64 letters, digits, '_', '.', '-', found {value!r}")
        return value
