# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the journal says of users, and whether they are what it says."""

from __future__ import annotations

import sqlite3
from enum import StrEnum
from hashlib import sha256

from vision_line.records.side_journal import SideEntry, entries


class AccountChange(StrEnum):
    """What an entry says."""

    ADDED = "added"
    REMOVED = "removed"
    ROLE = "role"
    PASSWORD = "password"  # noqa: S105 - a kind of entry
    FAILURES = "failures"


def users_problem(connection: sqlite3.Connection) -> str:
    """Return which user no entry made so, the first one by name; "" where all fit."""
    said: dict[str, tuple[object, object]] = {}
    for entry in entries(connection, AccountChange):
        _apply(said, entry)
    rows = connection.execute("SELECT name, role, password FROM users ORDER BY name").fetchall()
    found: dict[str, tuple[object, object]] = {row["name"]: (row["role"], fingerprint(row["password"])) for row in rows}
    differing = (name for name in sorted(said.keys() | found.keys()) if said.get(name) != found.get(name))
    return next((f"the user {name} is not as the entries say" for name in differing), "")


def _apply(users: dict[str, tuple[object, object]], entry: SideEntry) -> None:
    """Do to `users` (role, and what of the password is in the journal) what the entry says."""
    said = entry.body
    role, kept = users.get(entry.key, ("", None))
    match entry.kind:
        case AccountChange.ADDED:
            users[entry.key] = (said["after"], said["password_sha256"])
        case AccountChange.REMOVED:
            users.pop(entry.key, None)
        case AccountChange.ROLE:
            users[entry.key] = (said["after"], kept)
        case AccountChange.PASSWORD:
            users[entry.key] = (role, said["password_sha256"])


def fingerprint(kept: str | None) -> str | None:
    """Return what the journal has of a password's hash: enough to see that it was exchanged, and no use to guess it.

    It is the hash of a salted hash; who guesses has to know the salt, which is in the table of users alone.
    """
    return None if kept is None else sha256(kept.encode()).hexdigest()
