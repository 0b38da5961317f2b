# SPDX-License-Identifier: AGPL-3.0-or-later
"""What live pages need of the records: a camera's station and regions as its latest run had them, its neighbours."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import RunError
from vision_line.records.directory import ForeignFileError, open_stored
from vision_line.records.file_tables import EVIDENCE
from vision_line.records.records import Records

_NAMES = "SELECT DISTINCT name FROM cameras ORDER BY name"
_NEWEST = "SELECT station, settings FROM cameras WHERE name = ? ORDER BY run DESC, since_utc DESC LIMIT 1"
_KEPT = """SELECT e.path, t.first_seen_utc FROM events t JOIN evidence e ON e.run = t.run AND e.event_id = t.event_id
    WHERE t.camera = ? AND e.path IS NOT NULL AND e.deleted_utc IS NULL ORDER BY t.event DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class LiveCamera:
    """A camera; `regions` are polygons of points, shares of the frame's width and height. Neighbours are names."""

    name: str
    station: str
    regions: Sequence[Sequence[Sequence[float]]]
    before: str | None
    after: str | None


def read_live_camera(connection: Records, name: str) -> LiveCamera | None:
    """Return a camera of the records; None: no run had it.

    Raises:
        Error: the database's, as it comes.
    """
    names = [row[0] for row in connection.execute(_NAMES).fetchall()]
    if name not in names:
        return None
    station, settings = connection.execute(_NEWEST, (name,)).fetchone()
    place = names.index(name)
    before = names[place - 1] if place else None
    after = names[place + 1] if place + 1 < len(names) else None
    return LiveCamera(name, station, json.loads(settings or "{}").get("roi", []), before, after)


def newest_kept_image(connection: Records, directory: Path, name: str) -> tuple[bytes, float] | None:
    """Return the newest JPEG that is kept of a camera, and when its defect was first seen; None: there is none.

    Raises:
        Error: the database's, as it comes.
        RunError: it cannot be read.
    """
    row = connection.execute(_KEPT, (name,)).fetchone()
    if row is None:
        return None
    try:
        with os.fdopen(open_stored(directory, row[0], EVIDENCE.folder), "rb") as file:
            return file.read(), row[1]
    except FileNotFoundError:
        return None
    except (OSError, ForeignFileError) as exc:
        raise RunError(f"the newest image of {name} cannot be read") from exc
