# SPDX-License-Identifier: AGPL-3.0-or-later
"""How people approve and withdraw limits, whatever these are of: entries of one kind, and which of them are in force.

`key` names what a baseline is of. The body has `by`, and the baseline `before` and `after`; None is none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from vision_line.errors import RunError
from vision_line.quality import Baseline
from vision_line.records.side_journal import SideEntry, append, entries


class _Scope(Protocol):
    """What a baseline is of."""

    @property
    def key(self) -> str: ...


class _Approved(Protocol):
    """A baseline with what it was made of."""

    @property
    def baseline(self) -> Baseline: ...


S = TypeVar("S", bound=_Scope)
B = TypeVar("B", bound=_Approved)


@dataclass(frozen=True, slots=True)
class BaselineJournal(Generic[S, B]):
    """The entries of one kind: what a baseline is of, how a body says it, and how an entry's `after` is read."""

    kind: str
    scope_of: Callable[[B], S]
    said: Callable[[B], Mapping[str, object]]
    read: Callable[[SideEntry], B]

    def approve(self, connection: sqlite3.Connection, baseline: B) -> int:
        """Enter a baseline, which replaces the one of the same scope; return its entry's number."""
        scope = self.scope_of(baseline)
        before = self.in_force(connection).get(scope)
        body = {
            "by": baseline.baseline.approved_by,
            "before": None if before is None else self.said(before),
            "after": self.said(baseline),
        }
        return append(connection, self.kind, scope.key, body)

    def withdraw(self, connection: sqlite3.Connection, scope: S, by: str, reason: str) -> bool:
        """Enter that there is no baseline any more; False: there is none to withdraw."""
        found = self.in_force(connection).get(scope)
        if found is not None:
            body = {"by": by, "reason": reason, "before": self.said(found), "after": None}
            append(connection, self.kind, scope.key, body)
        return found is not None

    def in_force(self, connection: sqlite3.Connection) -> dict[S, B]:
        """Return the baselines that hold, by what they are of.

        Raises:
            RunError: an entry is not as this program writes them.
        """
        newest = {entry.key: entry for entry in entries(connection, [self.kind])}
        found = [self._read(entry) for entry in newest.values() if entry.body.get("after") is not None]
        return {self.scope_of(one): one for one in found}

    def history(self, connection: sqlite3.Connection, scope: S) -> list[SideEntry]:
        """Return all entries about a scope's baselines, the newest first."""
        return [entry for entry in reversed(entries(connection, [self.kind])) if entry.key == scope.key]

    def _read(self, entry: SideEntry) -> B:
        try:
            return self.read(entry)
        except (KeyError, ValueError) as exc:
            raise RunError(f"entry {entry.number} of the reviews cannot be read as a baseline") from exc
