# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the journal says the tables hold: its entries, one after the other, as the newest entry of each row. Pure."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypedDict

from vision_line.records.columns import SqlValue
from vision_line.records.journal import JournalEntry, Kind
from vision_line.records.journal_removal import KEY as JOURNAL_KEY
from vision_line.records.journal_removal import kind_of
from vision_line.records.journal_tables import BY_KIND, DETECTIONS, JournalledTable

Identity = tuple[SqlValue, ...]
#: A row's newest entry: its number, and Python's hash of its body, which no one can aim at: each process keys it anew.
Newest = tuple[int, int]

#: Where a body says the number of its row. No text in it can look so: quotation marks in texts are escaped.
_NUMBERS = {
    table.table: re.compile(rf'[{{,]"{table.identity[0]}":(\d+)[,}}]')
    for table in BY_KIND.values()
    if len(table.identity) == 1
}
_WITHDRAWN = ',"withdrawn":true'


class GroupBody(TypedDict):
    """Of an entry of detections: the digest of the group, in hex."""

    digest: str


class RemovalBody(TypedDict, total=False):
    """Of an entry of a removal: spans of removed rows by table, digests of detections by number."""

    removed: dict[str, list[list[int]]]
    digests: dict[str, str]


@dataclass(slots=True)
class DetectionGroup:
    """Detections `first` to `last` as they were entered together by entry `number`.

    Up to `end` the numbers are still its own; `gone` of these were removed. `digests` are of removed ones, in hex.
    """

    number: int
    first: int
    last: int
    digest: str
    end: int
    gone: int = 0
    digests: dict[int, str] = field(default_factory=dict)

    @property
    def is_gone(self) -> bool:
        """Whether all rows were removed."""
        return self.gone > self.end - self.first

    def cede(self, first: int) -> bool:
        """Leave the numbers from `first` on to a newer group; False: there are rows of them that nobody removed."""
        given = range(max(first, self.first), self.end + 1)
        was_removed = self.is_gone or all(number in self.digests for number in given)
        self.gone, self.end = self.gone - len(given), self.end - len(given)
        return was_removed


def _identity_in(table: JournalledTable, body: str) -> Identity:
    """Return which row a body speaks of, where that is a number without reading the whole body."""
    pattern = _NUMBERS.get(table.table)
    if pattern is None:
        return table.identity_of(json.loads(body))
    if (found := pattern.search(body)) is None:
        raise ValueError(f"it has no {table.identity[0]}")
    return (int(found[1]),)


class Fold:
    """The state of the tables after the entries that `add` got."""

    def __init__(self) -> None:
        """Begin with empty tables."""
        self.newest: dict[str, dict[Identity, Newest]] = {table.table: {} for table in BY_KIND.values()}
        self.overwritten: list[DetectionGroup] = []  # others took the numbers of rows that nobody removed
        self._groups: list[DetectionGroup] = []
        self._firsts: list[int] = []

    def add(self, entry: JournalEntry) -> None:
        """Take account of the next entry.

        Raises:
            ValueError, KeyError, TypeError: its body is none that was ever written.
        """
        kind, key = kind_of(entry)
        if kind == Kind.DETECTIONS:
            self._add_group(entry.number, key, json.loads(entry.body))
        elif (table := BY_KIND.get(kind)) is not None and key != JOURNAL_KEY:
            rows, identity = self.newest[table.table], _identity_in(table, entry.body)
            newest = (entry.number, hash(entry.body))
            if entry.kind == Kind.CARRIED and rows.get(identity, newest)[1] != newest[1]:
                raise ValueError(f"entry {rows[identity][0]} says otherwise, and is still there")
            if _WITHDRAWN in entry.body:
                rows.pop(identity, None)
            else:
                rows[identity] = newest
            if kind == Kind.REMOVAL and entry.kind != Kind.CARRIED:
                self._remove(json.loads(entry.body))

    @property
    def groups(self) -> Iterator[DetectionGroup]:
        """Return the groups of which rows are left, by their rows."""
        return (group for group in self._groups if not group.is_gone)

    def _add_group(self, number: int, key: str, body: GroupBody) -> None:
        """Take a group in. Numbers are used again once the highest rows were removed."""
        _, first, last = map(int, key.split("/"))
        while self._groups and self._groups[-1].end >= first:
            if not self._groups[-1].cede(first):
                self.overwritten.append(self._groups[-1])
            if self._groups[-1].first < first:
                break
            self._groups.pop()
            self._firsts.pop()
        self._groups.append(DetectionGroup(number, first, last, body["digest"], last))
        self._firsts.append(first)

    def _remove(self, body: RemovalBody) -> None:
        removed = body.get("removed", {})
        for name, found in removed.items():
            for first, last in found:
                if name == DETECTIONS.table:
                    self._remove_detections(first, last)
                else:
                    rows = self.newest[name]
                    for number in range(first, last + 1):
                        rows.pop((number,), None)
        for text, digest in body.get("digests", {}).items():
            self._note_digest(int(text), digest)

    def _note_digest(self, number: int, digest: str) -> None:
        """Keep the digest of a removed row, if its group's entry is still there."""
        place = bisect_right(self._firsts, number) - 1
        if place >= 0 and number <= self._groups[place].end:
            self._groups[place].digests[number] = digest

    def _remove_detections(self, first: int, last: int) -> None:
        start = max(0, bisect_right(self._firsts, first) - 1)
        for group in self._groups[start : bisect_left(self._firsts, last + 1)]:
            group.gone += max(0, min(last, group.end) - max(first, group.first) + 1)
