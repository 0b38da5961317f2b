# SPDX-License-Identifier: AGPL-3.0-or-later
"""Whether a client's name and password are a desk user's. Wrong ones are slowed down as at the desk."""

from __future__ import annotations

import hmac
import logging
import secrets
from contextvars import ContextVar
from pathlib import Path

from vision_line.errors import VisionLineError
from vision_line.reviews.passwords import LONGEST, PasswordHasher
from vision_line.reviews.reviews_file import reading
from vision_line.reviews.sign_in_delays import SignInDelays

logger = logging.getLogger(__name__)

#: The user whose request is served, "" of a client without one.
ASKING: ContextVar[str] = ContextVar("ASKING", default="")
#: Who may ask something of the line; the roles are the desk's, and there it is this one too.
_COMMANDS = "quality"
#: So many users are recognised without hashing their password again.
_MOST_RECOGNISED = 64


class SignInRefusedError(VisionLineError):
    """Name or password is wrong, or came too often; says nothing of which."""

    def __init__(self) -> None:
        super().__init__("name or password is wrong, or was tried too often")


class ClientSignIn:
    """Checks names and passwords of a record directory's users. Used by one thread.

    Hashing a password takes 0.3 s, in which nobody else is served. So who has signed in once is recognised by a digest
    with a key that this process alone knows: a client that reconnects costs nothing.
    """

    def __init__(
        self, directory: Path, hasher: PasswordHasher | None = None, delays: SignInDelays | None = None
    ) -> None:
        self._directory = directory
        self._hasher = hasher or PasswordHasher()
        self._delays = delays or SignInDelays()
        self._key = secrets.token_bytes(32)
        self._recognised: dict[str, bytes] = {}

    def exist(self) -> bool:
        """Whether there is a user with a password.

        Raises:
            RunError: the users cannot be read.
        """
        with reading(self._directory) as connection:
            sql = "SELECT 1 FROM users WHERE password IS NOT NULL LIMIT 1"
            return connection is not None and connection.execute(sql).fetchone() is not None

    def check(self, name: str, password: str, address: str) -> str:
        """Return the user's name as it is kept.

        Raises:
            SignInRefusedError: there is no such user, or they or this address have tried too often.
            RunError: the users cannot be read.
        """
        name = name.strip().lower()
        kept = self._kept(name) if len(password) <= LONGEST else None
        digest = self._digest(name, password, kept)
        if kept is not None and hmac.compare_digest(self._recognised.get(name, b""), digest):
            return name
        tried = self._delays.begin(name, address)
        if tried.wait_s > 0:
            raise SignInRefusedError
        if not self._hasher.matches(password[:LONGEST], kept):
            if tried.notable:
                logger.warning("signing in by OPC UA failed %d times; the last time from %s", tried.failures, address)
            raise SignInRefusedError
        self._delays.succeeded(name, address)
        if len(self._recognised) >= _MOST_RECOGNISED:
            self._recognised.pop(next(iter(self._recognised)))
        self._recognised[name] = digest
        return name

    def may_command(self, name: str) -> bool:
        """Whether a user, with the role that they have now, may change lots and recipes. From any thread.

        Raises:
            RunError: the users cannot be read.
        """
        with reading(self._directory) as connection:
            if connection is None or not name:
                return False
            row = connection.execute("SELECT role FROM users WHERE name = ?", (name,)).fetchone()
            return row is not None and row["role"] == _COMMANDS

    def _kept(self, name: str) -> str | None:
        with reading(self._directory) as connection:
            if connection is None:
                return None
            row = connection.execute("SELECT password FROM users WHERE name = ?", (name,)).fetchone()
            return None if row is None else row["password"]

    def _digest(self, name: str, password: str, kept: str | None) -> bytes:
        """Return what stands for a name, a password and the hash that it was compared with; another one ends it."""
        text = "\0".join((name, kept or "", password))
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256")
