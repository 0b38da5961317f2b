# SPDX-License-Identifier: AGPL-3.0-or-later
"""The audit trail: who changed what, which runs there were, and the seals of the journal; newest first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from vision_line.desk.boxes import present_boxes
from vision_line.desk.plain_words import masked
from vision_line.desk.rendering import page
from vision_line.desk.services import Services
from vision_line.desk.trail_words import entry_address, entry_title, fact_text
from vision_line.errors import ConfigError
from vision_line.records.records import Records, Row

router = APIRouter()

PAGE_ROWS = 100
_KINDS = ("configuration", "run", "doubt", "seal", "removal", "clock_step", "begin")

#: By the index: these kinds are a few among millions of entries.
_ENTRIES = f"""SELECT number, run, kind, key, at_utc, body FROM journal INDEXED BY journal_by_key
    WHERE number < ? AND (? OR kind <> 'configuration' OR key NOT LIKE 'audit/%')
    AND kind IN ({", ".join("?" * len(_KINDS))}) ORDER BY number DESC LIMIT ?"""  # noqa: S608  places
_HEAD = "SELECT number, digest FROM journal ORDER BY number DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting before and after, as JSON text; None: it was not set."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """An entry of the journal; `who`, `why` and `changes` are those of a configuration, `facts` what others say."""

    number: int
    run: int
    kind: str
    key: str
    at_utc: float
    who: str
    why: str
    changes: Sequence[Change]
    facts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Trail:
    """A page of the trail. `before` is the number below which the next one begins, None at the end."""

    head: str
    head_number: int
    entries: Sequence[TrailEntry]
    before: int | None


#: What the line sets by itself, with which probability audits are drawn, is many entries, and nobody's doing.
BySelf = Annotated[bool, Query(description="Also what the line set by itself: how often audits are drawn.")]
Before = Annotated[int | None, Query(ge=1, lt=2**63, description="Only entries with lower numbers.")]


@router.get("/trail", include_in_schema=False)
def trail_page(services: Services, before: Before = None, by_self: BySelf = False) -> HTMLResponse:
    """Show the trail, at first of what people set."""
    return page(
        "trail.html",
        trail=None if _is_of_many() else trail(services, before, by_self),
        by_self=by_self,
        is_first=before is None,
        entry_title=entry_title,
        entry_address=entry_address,
        fact_text=fact_text,
    )


@router.get("/api/v1/trail")
def trail(services: Services, before: Before = None, by_self: BySelf = True) -> Trail:
    """Return configuration changes, runs, doubts, seals, removals and steps of the clock, newest first."""
    if _is_of_many():
        raise ConfigError("each box has a trail of its own: choose one by `box`")
    with services.reader.open() as connection:
        return read_trail(connection, before, by_self=by_self)


def _is_of_many() -> bool:
    """Whether the answer is about several boxes: the entries of two journals have no common order."""
    return present_boxes().is_central and not present_boxes().box


def read_trail(connection: Records, before: int | None, rows: int = PAGE_ROWS, *, by_self: bool = True) -> Trail:
    """Return the entries below the number `before`; `by_self`: also of what the line set by itself.

    Raises:
        Error: the database's, as it comes.
    """
    number, digest = connection.execute(_HEAD).fetchone() or (0, b"")
    found = connection.execute(_ENTRIES, (2**62 if before is None else before, by_self, *_KINDS, rows)).fetchall()
    entries = [_entry(row) for row in found]
    return Trail(digest.hex(), number, entries, entries[-1].number if len(entries) == rows else None)


def _entry(row: Row) -> TrailEntry:
    body = masked(json.loads(row["body"]))
    facts = body if isinstance(body, dict) else {"body": body}
    is_configuration = row["kind"] == "configuration"
    file = facts.get("file")
    source = ""
    if isinstance(file, dict) and "path" in file:
        owner = str(file.get("owner", "unknown"))  # of older records where the file was gone "unknown: ..."
        source = f", {file['path']}" + ("" if owner.startswith("unknown") else f" of {owner}")
    return TrailEntry(
        number=row["number"],
        run=row["run"],
        kind=row["kind"],
        key=row["key"],
        at_utc=row["at_utc"],
        who=f"{facts.get('user', '')}{source}" if is_configuration else "",
        why=str(facts.get("why", "")) if is_configuration else "",
        changes=_changes(facts) if is_configuration else (),
        facts={} if is_configuration else {name: _text(value) for name, value in facts.items() if value is not None},
    )


def _changes(body: dict[str, object]) -> list[Change]:
    """Return what differs between before and after; of a thing that was or is not there, all of it."""
    before, after = (_fields(body.get(which)) for which in ("before", "after"))
    names = sorted({*before, *after})
    return [
        Change(name, *(None if name not in own else _text(own[name]) for own in (before, after)))
        for name in names
        if name not in before or name not in after or before[name] != after[name]
    ]


def _fields(value: object) -> dict[str, object]:
    if isinstance(value, dict):
        return value
    return {} if value is None else {"value": value}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
