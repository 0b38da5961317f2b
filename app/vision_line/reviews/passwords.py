# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is kept of a password: its scrypt hash with a salt of its own; and how long a password must be."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from vision_line.errors import ConfigError, RunError

#: In characters. Length is what makes guessing hopeless, so nothing else is asked.
SHORTEST, LONGEST = 12, 256
#: One is hashed at a time, 128 MB each; so many wait, and more are refused: a flood costs the line no memory.
_MOST_AT_ONCE = 4


class Cost(NamedTuple):
    """What one guess costs: `n` blocks of 128 * `r` bytes, `p` times. The default takes 128 MiB and some 0.3 s."""

    n: int = 2**17
    r: int = 8
    p: int = 1

    @property
    def memory(self) -> int:
        """Bytes that OpenSSL asks for: the blocks, one more for each of `p`, and two to work with."""
        return 128 * self.r * (self.n + self.p + 2)


class TooBusyError(RunError):
    """Too many passwords are waiting to be checked."""


def checked_password(password: str) -> str:
    """Return a new password.

    Raises:
        ConfigError: too short or too long; does not quote it.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigError(f"expected a password of {SHORTEST} to {LONGEST} characters")
    return password


class PasswordHasher:
    """Hashes passwords and compares them, one at a time; from any thread. `derive` is `hashlib.scrypt`."""

    def __init__(self, cost: Cost = Cost(), derive: Callable[..., bytes] = hashlib.scrypt) -> None:  # noqa: B008 - immutable
        self._cost = cost
        self._derive = derive
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._one = threading.Lock()

    def hash(self, password: str) -> str:
        """Return what is kept: `scrypt$n$r$p$salt$hash`, the last two in hex.

        Raises:
            TooBusyError: too many wait.
        """
        salt = secrets.token_bytes(16)
        n, r, p = self._cost
        return f"scrypt${n}${r}${p}${salt.hex()}${self._hashed(password, salt, self._cost).hex()}"

    def matches(self, password: str, kept: str | None) -> bool:
        """Whether this is the password that `kept` was made of. Where nothing is kept, the work is the same.

        Raises:
            TooBusyError: too many wait.
        """
        _, n, r, p, salt, expected = (kept or self._nothing_kept()).split("$")
        found = self._hashed(password, bytes.fromhex(salt), Cost(int(n), int(r), int(p)))
        return hmac.compare_digest(found, bytes.fromhex(expected)) and kept is not None

    def _nothing_kept(self) -> str:
        n, r, p = self._cost
        return f"scrypt${n}${r}${p}${bytes(16).hex()}${bytes(32).hex()}"

    def _hashed(self, password: str, salt: bytes, cost: Cost) -> bytes:
        # The same password may be typed in two ways of writing `ä`; a lone surrogate is one more wrong password.
        secret = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
        with self._place():
            return self._derive(secret, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=cost.memory, dklen=32)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise TooBusyError("too many people sign in at once: try again in some seconds")
        try:
            with self._one:
                yield
        finally:
            self._places.release()
