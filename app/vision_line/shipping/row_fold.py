# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a piece of the records' journal does to the tables: of each row its newest entry. Pure.

Bodies of entries are rows already, as JSON; they are passed on as they are, but for what PostgreSQL does not take.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

from vision_line.records.journal import JournalEntry, Kind, canonical
from vision_line.records.journal_removal import KEY as JOURNAL_KEY
from vision_line.records.journal_removal import kind_of
from vision_line.shipping.box_tables import TABLE_OF

#: What is said of itself, and not of a row.
_WITHDRAWN = re.compile(r'[{,]"withdrawn":true[,}]')
#: Sought first: a text is found sooner than a pattern.
_MAY_BE_WITHDRAWN = '"withdrawn":true'
_MAY_BE_UNUSUAL = ("\\u", "NaN", "Infinity")
#: A character that PostgreSQL's text cannot have, half of one, and numbers that its JSON has no words for.
_UNUSUAL = re.compile(r"\\u0000|\\ud[89a-f]|[:,\[](?:NaN|-?Infinity)\b")
#: Kinds whose entries say more than a row does, or of which there is none.
KEPT_ENTRIES = frozenset(
    {Kind.BEGIN, Kind.RUN, Kind.CAMERA, Kind.CONFIGURATION, Kind.DOUBT, Kind.CLOCK_STEP, Kind.REMOVAL, Kind.SEAL}
)


class RowName(NamedTuple):
    """What tells a row from all others of its kind; `run` is the box's, and all that a run needs."""

    run: int
    key: str


class RowText(NamedTuple):
    """A row as JSON, with the numbers of the first and the last entry of it."""

    body: str
    first: int
    last: int


@dataclass(slots=True)
class RowChanges:
    """Rows to write, by kind; then rows that are taken back."""

    rows: dict[str, dict[RowName, RowText]] = field(default_factory=dict)
    withdrawn: list[JournalEntry] = field(default_factory=list)


def fold(entries: Iterable[JournalEntry]) -> list[RowChanges]:
    """Return what `entries` do, one after the other: a row that comes again after it was taken back is in the next."""
    found = [RowChanges()]
    for entry in entries:
        kind, key = kind_of(entry)
        if kind not in TABLE_OF or (kind == Kind.REMOVAL and key == JOURNAL_KEY):
            continue
        if _MAY_BE_WITHDRAWN in entry.body and _WITHDRAWN.search(entry.body):
            found[-1].withdrawn.append(entry)
            continue
        if found[-1].withdrawn:
            found.append(RowChanges())
        rows, name = found[-1].rows.setdefault(kind, {}), RowName(entry.run, "" if kind == Kind.RUN else key)
        first = rows[name].first if name in rows else entry.number
        rows[name] = RowText(entry.body, first, entry.number)
    return found


def rows_json(rows: Iterable[RowText]) -> str:
    """Return rows as one JSON list, each with its entries' numbers."""
    texts = (f'{clean(row.body)[:-1]},"first_entry":{row.first},"entry":{row.last}}}' for row in rows)
    return f"[{','.join(texts)}]"


def clean(body: str) -> str:
    """Return a body as PostgreSQL takes it: what it has no place for is written otherwise."""
    if not any(word in body for word in _MAY_BE_UNUSUAL) or not _UNUSUAL.search(body):
        return body
    try:
        return canonical(_cleaned(json.loads(body)))
    except ValueError:  # it is no JSON, which the database says as well
        return body


def clean_text(text: str) -> str:
    """Return a text as PostgreSQL takes it."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float) and not isfinite(value):
        return str(value)  # a text that PostgreSQL reads as the same number
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    return {_cleaned(key): _cleaned(one) for key, one in value.items()} if isinstance(value, dict) else value


def is_kept(entry: JournalEntry) -> bool:
    """Whether the entry itself goes to the database."""
    return kind_of(entry)[0] in KEPT_ENTRIES
