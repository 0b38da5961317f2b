# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is signed in: sessions with a role, in this process alone, and links that open one once.

Their secrets are 256 random bits; only hashes are kept, so that a dump of the memory or a later table gives none away.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

#: A session ends so long after it began, and so long after it was last used; in seconds.
LIFETIME_S = 12 * 3600.0
IDLE_S = 30 * 60.0
#: More at once are no people: the one that was idle longest goes.
MOST_SESSIONS = 256


class Role(StrEnum):
    """What a person may do; each includes those before it."""

    READER = "viewer"
    REVIEWER = "reviewer"
    QUALITY = "quality"

    def includes(self, other: Role) -> bool:
        """Whether this role may do what `other` may."""
        order = tuple(Role)
        return order.index(self) >= order.index(other)


@dataclass(slots=True)
class DeskSession:
    """One person's session; times are monotonic. `credential` is that of the user's account, None of a link."""

    user: str
    role: Role
    began_s: float
    used_s: float
    credential: int | None = None

    def is_over(self, now_s: float) -> bool:
        """Whether it has lasted, or was not used, for too long."""
        return now_s - self.began_s >= LIFETIME_S or now_s - self.used_s >= IDLE_S


class Sessions:
    """All sessions and links; from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[bytes, DeskSession] = {}
        self._links: set[bytes] = set()

    def new_link(self) -> str:
        """Return the secret of a link that opens one session; earlier links that nobody used end."""
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._links = {_hash(secret)}
        return secret

    def redeem(self, link: str, user: str, role: Role) -> str | None:
        """Return the secret of a new session for a link's secret; None: it is none, or was used."""
        with self._lock:
            if _hash(link) not in self._links:
                return None
            self._links.discard(_hash(link))
        return self.begin(user, role)

    def begin(self, user: str, role: Role, credential: int | None = None) -> str:
        """Begin a session, and return its secret, which is another one each time."""
        secret, now_s = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._sessions = {key: session for key, session in self._sessions.items() if not session.is_over(now_s)}
            if len(self._sessions) >= MOST_SESSIONS:
                del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].used_s)]
            self._sessions[_hash(secret)] = DeskSession(user, role, now_s, now_s, credential)
        return secret

    def find(self, secret: str, *, is_used: bool = True) -> DeskSession | None:
        """Return the session of this secret, which is used now; None: there is none, or it is over."""
        now_s = self._clock()
        with self._lock:
            session = self._sessions.get(_hash(secret))
            if session is None or session.is_over(now_s):
                self._sessions.pop(_hash(secret), None)
                return None
            session.used_s = now_s if is_used else session.used_s
            return session

    def end(self, secret: str) -> None:
        """End a session, if there is one."""
        with self._lock:
            self._sessions.pop(_hash(secret), None)


def _hash(secret: str) -> bytes:
    """Return what is kept of a secret; it has 256 random bits, so that no slow hash is needed."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
