# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clips as rows. Pure."""

from __future__ import annotations

import json

from vision_line.records.columns import SqlValue
from vision_line.records.entries import ClipEntry
from vision_line.records.statements import insert_sql

#: What the note of a clip says that has another behind it. Stable: a start looks for it.
GOES_ON = "goes on in another clip"

_COLUMNS = (
    *("run", "camera", "station", "recipe", "clip_id", "events", "begins_utc", "begins_s", "ends_utc", "ends_s"),
    *("codec", "frames", "reencoded", "note", "path", "sha256", "bytes", "created_utc", "missing"),
)
#: A clip that was said to be missing may be had after all; one that is there is not said to be missing.
UPSERT_CLIP = f"{insert_sql('clips', _COLUMNS, key=('run', 'clip_id'))} WHERE clips.path IS NULL"


def clip_name(clip_id: str, number: int) -> str:
    """Return what names a clip's file within its run: of several each has its own."""
    return clip_id if number == 1 else f"{clip_id}-{number}"


def next_name(name: str, clip_id: str) -> str:
    """Return the name of the file behind the one that is called `name`."""
    number = name.removeprefix(f"{clip_id}-")
    return clip_name(clip_id, int(number) + 1 if number.isdecimal() else 2)


def clip_values(entry: ClipEntry) -> tuple[SqlValue, ...]:
    """Return the values of `UPSERT_CLIP` behind run, camera, station and recipe."""
    return (
        *(entry.clip_id, json.dumps(entry.events), entry.begins_utc, entry.begins_s, entry.ends_utc, entry.ends_s),
        *(entry.codec, entry.frames, int(entry.reencoded), entry.note, entry.path, entry.sha256),
        *(entry.size, entry.created_utc, entry.missing),
    )
