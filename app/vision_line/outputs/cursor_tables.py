# SPDX-License-Identifier: AGPL-3.0-or-later
"""The tables of `outputs.sqlite`, and how an older file becomes one of now.

`telemetry/output_status.py` has the file's version: raise it with every change, and give `steps_from` what leads there.
"""

from __future__ import annotations

_FOLLOWED = (
    """CREATE TABLE cursors (
        output TEXT NOT NULL, journal TEXT NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL,
        lost INTEGER NOT NULL DEFAULT 0, sent INTEGER NOT NULL DEFAULT 0, repeated INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (output, journal)) STRICT""",
    """CREATE TABLE marks (
        output TEXT NOT NULL, journal TEXT NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL,
        PRIMARY KEY (output, journal, number)) STRICT""",
    """CREATE TABLE replays (
        output TEXT NOT NULL, journal TEXT NOT NULL, behind INTEGER NOT NULL, asked_utc REAL NOT NULL,
        PRIMARY KEY (output, journal)) STRICT""",
)
_STATES = """CREATE TABLE states (
        output TEXT PRIMARY KEY, state TEXT NOT NULL, since_utc REAL NOT NULL, error TEXT, behind INTEGER NOT NULL,
        behind_s REAL NOT NULL, updated_utc REAL NOT NULL) STRICT"""
#: What each table of version 1 holds, there of the records' journal alone.
_HELD = {"cursors": "number, digest, lost, sent, repeated", "marks": "number, digest", "replays": "behind, asked_utc"}


def steps_from(version: int) -> tuple[str, ...]:
    """Return the statements that bring a file of `version`, 0 a new one, up to date."""
    if version == 0:
        return (*_FOLLOWED, _STATES)
    if version == 1:
        renamed = [f"ALTER TABLE {table} RENAME TO {table}_1" for table in _HELD]
        kept = [
            f"INSERT INTO {table} (output, journal, {held}) SELECT output, 'records', {held} FROM {table}_1"  # noqa: S608  ours
            for table, held in _HELD.items()
        ]
        return (*renamed, *_FOLLOWED, *kept, *(f"DROP TABLE {table}_1" for table in _HELD))
    return ()
