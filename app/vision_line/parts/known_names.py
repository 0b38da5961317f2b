# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which lanes and recipes the line has, by its records; every door asks here before it takes a name.

A run enters its configuration in the journal at its start and at each change. So the records of its directory say what
is in force, and while nobody inspects what was in force last.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import ConfigError, RunError
from vision_line.parts.orders import EVERYWHERE
from vision_line.parts.recorded_recipes import RECIPES
from vision_line.records.configuration_journal import in_force
from vision_line.records.schema import FILE_NAME, open_reader, translated

logger = logging.getLogger(__name__)

#: The key in the journal of all lanes of the file, by their names.
LANES = "section/lane"


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The names that a configuration has; None: nobody says which."""

    lanes: tuple[str, ...] | None = None
    recipes: tuple[str, ...] | None = None

    def check(self, *, lane: str = EVERYWHERE, recipe: str = "") -> str:
        """Return what of the two could not be checked, in words, "" where nothing is left open.

        Raises:
            ConfigError: the configuration does not have one of them; says which, and what it has.
        """
        problems, unsaid = list[str](), list[str]()
        for key, name, names, anyone in _asked(self, lane, recipe):
            if names is None:
                unsaid.append(f"{key}s")
            elif name not in names:
                problems.append(f"{key}: found {name!r}, expected {_one_of(names, anyone)}")
        if problems:
            raise ConfigError("; ".join(problems))
        return f"not checked: the records do not say which {' and '.join(unsaid)} there are" if unsaid else ""


def recorded_names(directory: Path) -> KnownNames:
    """Return the names that the records of a directory say; none where there are no records, or they cannot be read."""
    path = directory / FILE_NAME
    if not path.is_file():
        return KnownNames()
    try:
        with translated(path, "reading"), closing(open_reader(directory)) as connection:
            return names_of(connection)
    except RunError as exc:
        logger.warning("which lanes and recipes there are cannot be read: %s", exc)
        return KnownNames()


def names_of(connection: sqlite3.Connection) -> KnownNames:
    """Return the names that a record file says.

    Raises:
        sqlite3.Error: as it comes.
    """
    found = in_force(connection)
    lanes, recipes = found.get(LANES), found.get(RECIPES, {} if found else None)
    return KnownNames(*(tuple(map(str, each)) if isinstance(each, dict) else None for each in (lanes, recipes)))


def _asked(known: KnownNames, lane: str, recipe: str) -> Iterator[tuple[str, str, Sequence[str] | None, str]]:
    """Yield what is to be checked: its key, its name, the names that there are, and what means none of them."""
    if lane != EVERYWHERE:
        yield "lane", lane, known.lanes, f"{EVERYWHERE} for all"
    if recipe:
        yield "recipe", recipe, known.recipes, '"" for none'


def _one_of(names: Sequence[str], anyone: str) -> str:
    return f"one of {', '.join(names)}, or {anyone}" if names else f"{anyone}: the configuration has none"
