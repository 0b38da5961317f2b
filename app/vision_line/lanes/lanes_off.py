# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who has which lane divert everything; it outlives a change of the lane, and the process.

Who switches a lane off does not ask again whether it is. So a process that was killed goes on where it was.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from pathlib import Path

from vision_line.errors import RunError
from vision_line.records.directory import sync_directory, write_durably

logger = logging.getLogger(__name__)

FILE_NAME = "lanes-off.json"


class LanesOff:
    """Of one record directory, which is locked by this process. In the event loop."""

    def __init__(self, directory: Path, lasting: Collection[str]) -> None:
        """Read what a process before left; what is done in a name of `lasting` is kept, others say it anew.

        Raises:
            RunError: the file cannot be read.
        """
        self._path = directory / FILE_NAME
        self._lasting = frozenset(lasting)
        self._names: dict[str, set[str]] = {lane: set(names) for lane, names in _read(self._path).items()}

    def names(self, lane: str) -> frozenset[str]:
        """Return in whose names a lane diverts everything, none: it decides."""
        return frozenset(self._names.get(lane, ()))

    @property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that somebody switched off, perhaps not any more."""
        return tuple(self._names)

    def switch(self, lane: str, by: str, *, is_off: bool) -> None:
        """Have a lane divert everything in a name, or end that."""
        names = self._names.setdefault(lane, set())
        if (by in names) is is_off:
            return
        names ^= {by}
        if by in self._lasting:
            self._keep()

    def _keep(self) -> None:
        """Write the file, and have it on the disk: a machine that loses its power begins with what it says."""
        kept = {lane: sorted(names & self._lasting) for lane, names in self._names.items() if names & self._lasting}
        try:
            write_durably(self._path, json.dumps(kept).encode(), self._path.with_suffix(".partial"))
            sync_directory(self._path.parent)
        except OSError as exc:
            logger.error("%s: cannot be written, a restart forgets who is off: %s", self._path, exc.strerror or exc)


def _read(path: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise RunError(f"{path}: which lanes are off cannot be read ({exc}); remove it to have all on") from exc
    if isinstance(found, dict) and all(_are_names(names) for names in found.values()):
        return found
    raise RunError(f"{path}: expected the lanes that are off, found something else; remove it to have all on")


def _are_names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
