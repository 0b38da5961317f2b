# SPDX-License-Identifier: AGPL-3.0-or-later
"""The desk's users: name, role, and what is kept of the password. Each change has its entry in the same commit."""

from __future__ import annotations

import re
import sqlite3
import time
from dataclasses import dataclass, field
from pathlib import Path

from vision_line.desk.users.sessions import Role
from vision_line.errors import ConfigError
from vision_line.records.side_chain import chain_problem
from vision_line.records.side_journal import SideEntry, append, head, newest
from vision_line.reviews.account_entries import AccountChange, fingerprint, users_problem
from vision_line.reviews.passwords import PasswordHasher, checked_password
from vision_line.reviews.reviews_file import reading, writing

#: Also addresses of mail, as a sign-on of the plant names people.
_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}", re.ASCII)
_COLUMNS = "name, role, password, credential"


@dataclass(frozen=True, slots=True)
class Account:
    """A user. Without a `password` they come through a proxy only; another `credential` ends their sessions."""

    name: str
    role: Role
    password: str | None = field(repr=False)
    credential: int


@dataclass(frozen=True, slots=True)
class AccountsPage:
    """All users, what was changed about them, and whether that is whole: `problem` is "" where it is."""

    accounts: list[Account]
    entries: list[SideEntry]
    head: str
    problem: str


def user_name(text: str) -> str:
    """Return a name as it is kept, in small letters.

    Raises:
        ConfigError: it is no name.
    """
    name = text.strip().lower()
    if _NAME.fullmatch(name) is None:
        raise ConfigError("expected a user's name: letters, digits and . _ @ + -, at most 64")
    return name


class Accounts:
    """The users of a record directory; from any thread. Each call reads or writes the file as it is now.

    Every method raises RunError where `reviews.sqlite` cannot be read, or written.
    """

    def __init__(self, directory: Path, hasher: PasswordHasher | None = None) -> None:
        self.hasher = hasher or PasswordHasher()
        self._directory = directory

    def exist(self) -> bool:
        """Whether there is a user."""
        with reading(self._directory) as connection:
            return connection is not None and connection.execute("SELECT 1 FROM users LIMIT 1").fetchone() is not None

    def find(self, name: str) -> Account | None:
        """Return the user of this name, as it is kept."""
        with reading(self._directory) as connection:
            return None if connection is None else _found(connection, name)

    def page(self, most: int = 200) -> AccountsPage:
        """Return all users by name, and the newest entries."""
        with reading(self._directory) as connection:
            if connection is None:
                return AccountsPage([], [], "", "")
            rows = connection.execute(f"SELECT {_COLUMNS} FROM users ORDER BY name").fetchall()  # noqa: S608  a constant
            entries = newest(connection, AccountChange, most)
            problem = chain_problem(connection) or users_problem(connection)
            return AccountsPage([_account(row) for row in rows], entries, head(connection), problem)

    def add(self, name: str, role: Role, password: str | None, by: str) -> None:
        """Add a user; without a password they come through a proxy only.

        Raises:
            ConfigError: there is one of this name, or name or password are not possible.
        """
        name = user_name(name)
        kept = None if password is None else self.hasher.hash(checked_password(password))
        with writing(self._directory) as connection:
            if _found(connection, name) is not None:
                raise ConfigError(f"there is a user {name} already")
            body = {"by": by, "before": None, "after": role.value, "password_sha256": fingerprint(kept)}
            number = append(connection, AccountChange.ADDED, name, body)
            connection.execute(
                "INSERT INTO users (name, role, password, credential, added_utc) VALUES (?, ?, ?, ?, ?)",
                (name, role.value, kept, number, time.time()),
            )

    def remove(self, name: str, by: str, *, keeps_quality: bool = False) -> None:
        """Remove a user, whose sessions end. With `keeps_quality` never the last one who can change users at the desk.

        Raises:
            ConfigError: there is none of this name, or it is that one.
        """
        with writing(self._directory) as connection:
            account = _expected(connection, name)
            if keeps_quality:
                _check_another(connection, account)
            append(connection, AccountChange.REMOVED, account.name, {"by": by, "before": account.role, "after": None})
            connection.execute("DELETE FROM users WHERE name = ?", (account.name,))

    def set_role(self, name: str, role: Role, by: str, *, keeps_quality: bool = False) -> None:
        """Give a user another role, at once. With `keeps_quality` as `remove`.

        Raises:
            ConfigError: there is none of this name, or it is the last one who can change users at the desk.
        """
        with writing(self._directory) as connection:
            account = _expected(connection, name)
            if keeps_quality and role is not Role.QUALITY:
                _check_another(connection, account)
            body = {"by": by, "before": account.role.value, "after": role.value}
            append(connection, AccountChange.ROLE, account.name, body)
            connection.execute("UPDATE users SET role = ? WHERE name = ?", (role.value, account.name))

    def set_password(self, name: str, password: str, by: str) -> None:
        """Give a user another password, which ends their sessions.

        Raises:
            ConfigError: there is none of this name, or the password is not possible.
        """
        kept = self.hasher.hash(checked_password(password))
        with writing(self._directory) as connection:
            account = _expected(connection, name)
            body = {"by": by, "password_sha256": fingerprint(kept)}
            number = append(connection, AccountChange.PASSWORD, account.name, body)
            connection.execute(
                "UPDATE users SET password = ?, credential = ? WHERE name = ?", (kept, number, account.name)
            )

    def note_failures(self, name: str, address: str, failures: int) -> None:
        """Enter that signing in failed too often. What was typed is kept only where it is a user's name."""
        with writing(self._directory) as connection:
            known = name if _found(connection, name) else ""
            append(connection, AccountChange.FAILURES, known, {"by": address, "failures": failures})


def _found(connection: sqlite3.Connection, name: str) -> Account | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM users WHERE name = ?", (name,)).fetchone()  # noqa: S608  a constant
    return None if row is None else _account(row)


def _expected(connection: sqlite3.Connection, name: str) -> Account:
    account = _found(connection, user_name(name))
    if account is None:
        raise ConfigError(f"there is no user {user_name(name)}")
    return account


def _check_another(connection: sqlite3.Connection, account: Account) -> None:
    """Raise ConfigError where nobody but this user has the role and the password that changes of users need."""
    sql = "SELECT 1 FROM users WHERE role = ? AND password IS NOT NULL AND name <> ?"
    others = connection.execute(sql, (Role.QUALITY.value, account.name)).fetchone()
    if account.role is Role.QUALITY and others is None:
        raise ConfigError(
            f"{account.name} is the last user with the role quality: nobody could change users at the desk any more;"
            " give another user that role first"
        )


def _account(row: sqlite3.Row) -> Account:
    return Account(row["name"], Role(row["role"]), row["password"], row["credential"])
