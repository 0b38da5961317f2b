# SPDX-License-Identifier: AGPL-3.0-or-later
"""How each output is, as its process notes it once a second: for the line, for others, and after it has died.

The file is `vision-line outputs`'s; here it is only read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from vision_line.records.file_identity import FileIdentity
from vision_line.records.schema import translated

FILE_NAME = "outputs.sqlite"
#: "vlou": tells our files from other people's.
APPLICATION_ID = 0x766C6F75
SCHEMA_VERSION = 2
IDENTITY = FileIdentity("a file of vision-line outputs", APPLICATION_ID, SCHEMA_VERSION)

#: What an output's state is while the other side takes messages.
CONNECTED = "connected"
#: What it is before an output that is asked by each message has sent its first.
READY = "ready"
#: A state that is older than this is nobody's: the process that wrote it every second does not run.
SILENT_S = 10.0
_BUSY_TIMEOUT_S = 5.0

_CURSORS = "SELECT output, {journal}, number, lost, sent, repeated FROM cursors ORDER BY output"
_STATES = "SELECT output, state, since_utc, error, behind, behind_s, updated_utc FROM states"


@dataclass(frozen=True, slots=True)
class OutputState:
    """How an output is: `state` is a word, `error` the last trouble (no secret in it), None once it was overcome.

    `behind` counts the entries of all journals that wait, `behind_s` is how long the first of them has.
    """

    state: str
    since_utc: float
    error: str | None
    behind: int
    behind_s: float
    updated_utc: float


@dataclass(frozen=True, slots=True)
class KnownOutput:
    """An output that has begun, and how it was last; `state` None: it never said.

    `places` has the number of the entry behind which it is, by the journal's name. `lost`, `sent` and `repeated` count
    since it began, over all journals. `clock_offset_s` is how far this clock is ahead of the other side's, where known.
    """

    name: str
    places: Mapping[str, int] = field(hash=False)
    lost: int
    sent: int
    repeated: int
    state: OutputState | None
    clock_offset_s: float | None = None

    def is_running(self, now_utc: float) -> bool:
        """Whether the process that serves it is there, for who looks once; what is of the future is of no process."""
        return self.state is not None and abs(now_utc - self.state.updated_utc) <= SILENT_S

    @property
    def takes_messages(self) -> bool:
        """Whether the other side took messages, or had not refused any, when the process said so last."""
        return self.state is not None and self.state.state in {CONNECTED, READY}


def known_outputs(directory: Path) -> list[KnownOutput]:
    """Return every output that has begun, by name.

    Raises:
        RunError: the file cannot be read.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        return []
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with (
        translated(path, "reading"),
        closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection,
    ):
        version = IDENTITY.version_of(connection, path)
        return _known(connection, "'records'" if version == 1 else "journal") if version else []


def _known(connection: sqlite3.Connection, journal: str) -> list[KnownOutput]:
    """Return the outputs; `journal` is the column that says whose a place is."""
    rows: dict[str, list[tuple[str, int, int, int, int]]] = {}
    for output, *row in connection.execute(_CURSORS.format(journal=journal)):
        rows.setdefault(output, []).append(tuple(row))
    states = {output: OutputState(*values) for output, *values in connection.execute(_STATES)}
    return [_output(name, found, states.get(name)) for name, found in rows.items()]


def _output(name: str, rows: list[tuple[str, int, int, int, int]], state: OutputState | None) -> KnownOutput:
    names, numbers, lost, sent, repeated = zip(*rows, strict=True)
    return KnownOutput(name, dict(zip(names, numbers, strict=True)), sum(lost), sum(sent), sum(repeated), state)
