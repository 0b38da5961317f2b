# SPDX-License-Identifier: AGPL-3.0-or-later
"""Schemas describe keys by the docstrings below them, which nobody reads before a schema is asked for."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vision_line.config.models import Config
from vision_line.documented import Documented

READS = """
import inspect
from vision_line.config.models import Config
def read(*_):
    raise LookupError("the source is read")
inspect.getsource = inspect.findsource = inspect.getsourcelines = read
from vision_line.telemetry.summary import Summary
try:
    Config.model_json_schema()
except LookupError:
    print("read for the schema alone")
"""


class Part(Documented, BaseModel):
    """A part."""

    model_config = ConfigDict(frozen=True)

    length: int = 1
    """How long it is,
    in millimetres."""
    unsaid: int = 1
    weight: float = Field(1.0, description="Its own words.")
    """Not these."""


class Lid(Part):
    """A part with a handle."""

    length: int = 2
    handle: Part | None = None
    """What it is lifted by."""


def described(model: type[BaseModel]) -> dict[str, Any]:
    """Return the descriptions in the schema of a model, by key."""
    return {key: one.get("description") for key, one in model.model_json_schema()["properties"].items()}


def test_keys_are_described_by_their_docstrings() -> None:
    """A description that is given goes first."""
    assert described(Part) == {
        "length": "How long it is,\nin millimetres.",
        "unsaid": None,
        "weight": "Its own words.",
    }


def test_inherited_keys_keep_theirs() -> None:
    """Also where a class says another default, and in the definitions of a larger schema."""
    assert described(Lid) == described(Part) | {"handle": "What it is lifted by."}
    (definition,) = Lid.model_json_schema()["$defs"].values()
    assert definition["properties"]["length"]["description"] == "How long it is,\nin millimetres."


def test_the_configuration_is_described() -> None:
    """An editor shows it."""
    stream = Config.model_json_schema()["$defs"]["Stream"]["properties"]
    assert stream["enabled"]["description"] == "false: the camera is kept in the file but not opened."
    assert [key for key, one in stream.items() if not one.get("description")] == []


def test_no_source_is_read_when_a_program_starts() -> None:
    """It took a tenth of the time."""
    done = subprocess.run([sys.executable, "-c", READS], check=True, capture_output=True, text=True)

    assert done.stdout == "read for the schema alone\n"
