# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run has entered of its configuration, for doors that ask the records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from vision_line.parts.known_names import LANES
from vision_line.parts.recorded_recipes import RECIPES
from vision_line.records.journal import Kind
from vision_line.records.schema import FILE_NAME, RecordConnection, open_writer, transaction


def say_configuration(directory: Path, lanes: Iterable[str] | None, recipes: Iterable[str]) -> None:
    """Enter lanes and recipes by their names, as a run does; None: as a version that entered no lanes."""
    directory.mkdir(parents=True, exist_ok=True)
    with closing(open_writer(directory / FILE_NAME)) as connection:
        enter_configuration(connection, {"model": {"name": "pcb"}, **named(lanes, recipes)})


def named(lanes: Iterable[str] | None, recipes: Iterable[str]) -> dict[str, object]:
    """Return what is entered of lanes and recipes."""
    said: dict[str, object] = {RECIPES: {name: {} for name in recipes} or None}
    return said if lanes is None else said | {LANES: {name: {"cameras": ["cam01"]} for name in lanes}}


def enter_configuration(connection: RecordConnection, said: Mapping[str, object], why: str = "start") -> None:
    """Enter values by their keys."""
    with transaction(connection):
        for key, after in said.items():
            connection.journal.append(Kind.CONFIGURATION, key, {"before": None, "after": after, "why": why}, 0)
