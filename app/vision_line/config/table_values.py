# SPDX-License-Identifier: AGPL-3.0-or-later
"""Values that several tables of `streams.toml` hold."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

#: What is given a name by people: cameras, lanes, recipes.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

#: Names of boxes are parts of keys in a store, so they have no dot.
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

#: What to do where a URL's user or password ends too early.
HOW_TO_ESCAPE = "a # / ? @ or : in a name or password is written %23 %2F %3F %40 %3A, or comes as it is from a {NAME}"

Score = Annotated[float, Field(gt=0.0, lt=1.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Coordinate = Annotated[float, Field(ge=0.0, le=1.0)]
Point = Annotated[list[Coordinate], Field(min_length=2, max_length=2)]
Polygon = Annotated[list[Point], Field(min_length=3)]
