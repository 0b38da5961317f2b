# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line desk user`: users of the desk, changed in `reviews.sqlite`, also while a desk runs."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from vision_line.cli.command_user import command_user
from vision_line.desk.users.accounts import Accounts, user_name
from vision_line.desk.users.sessions import Role
from vision_line.errors import ConfigError
from vision_line.reviews.passwords import LONGEST, checked_password
from vision_line.screens.lines import say


def add(record: Path, name: str, role: Role, password_file: Path | None, *, no_password: bool) -> None:
    """Add a user.

    Raises:
        ConfigError: name or password are not possible, or there is no record directory.
        RunError: `reviews.sqlite` cannot be written.
    """
    accounts, name = _accounts(record), user_name(name)
    if no_password and password_file is not None:
        raise ConfigError("expected --password-file or --no-password, found both")
    if accounts.find(name) is not None:
        raise ConfigError(f"there is a user {name} already")
    accounts.add(name, role, None if no_password else _password(name, password_file), by=command_user())


def show(record: Path) -> None:
    """Print the users.

    Raises:
        ConfigError: there is no record directory.
        RunError: `reviews.sqlite` cannot be read, or is not what was written.
    """
    page = _accounts(record).page(0)
    for account in page.accounts:
        way = "password" if account.password is not None else "proxy"
        say(f"{account.name}\t{account.role}\t{way}", sys.stdout)
    if page.problem:
        say(f"vision-line: somebody has changed this file: {page.problem}", sys.stderr)


def remove(record: Path, name: str) -> None:
    """Remove a user.

    Raises:
        ConfigError: there is none of this name.
        RunError: `reviews.sqlite` cannot be written.
    """
    _accounts(record).remove(name, by=command_user())


def set_role(record: Path, name: str, role: Role) -> None:
    """Give a user another role.

    Raises:
        ConfigError: there is none of this name.
        RunError: `reviews.sqlite` cannot be written.
    """
    _accounts(record).set_role(name, role, by=command_user())


def set_password(record: Path, name: str, password_file: Path | None) -> None:
    """Give a user another password.

    Raises:
        ConfigError: there is none of this name, or the password is not possible.
        RunError: `reviews.sqlite` cannot be written.
    """
    accounts, name = _accounts(record), user_name(name)
    if accounts.find(name) is None:
        raise ConfigError(f"there is no user {name}")
    accounts.set_password(name, _password(name, password_file), by=command_user())


def _accounts(record: Path) -> Accounts:
    if not record.is_dir():
        raise ConfigError(f"--record {record}: expected the folder of the records")
    return Accounts(record)


def _password(name: str, file: Path | None) -> str:
    """Return a new password: from the file, from whoever sits at the terminal, or from standard input.

    Raises:
        ConfigError: it is not possible, or cannot be read.
    """
    if file is not None and str(file) != "-":
        try:
            with file.open(encoding="utf-8") as lines:
                return checked_password(lines.readline(4 * LONGEST).rstrip("\r\n"))
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(f"--password-file {file}: cannot be read as text") from exc
    if file is None and sys.stdin.isatty():
        return checked_password(typer.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True))
    return checked_password(sys.stdin.readline(4 * LONGEST).rstrip("\r\n"))
