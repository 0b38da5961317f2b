# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who is the plant's central desk: who knows the token, at a bounded rate; others wait longer each time."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus

from starlette.exceptions import HTTPException

from vision_line.reviews.sign_in_delays import SignInDelays

#: What goes before the token in `Authorization`.
SCHEME = "Bearer "
#: So many are served at once, and then so many a second: a gallery of the centre asks for 50.
MOST_AT_ONCE, A_SECOND = 200.0, 50.0


@dataclass
class FleetDoor:
    """Lets in who knows the token. Wrong ones have to wait, by address; right ones are served at a bounded rate."""

    token: bytes = field(repr=False)
    clock: Callable[[], float] = time.monotonic
    _delays: SignInDelays = field(init=False, repr=False)
    _lock: threading.Lock = field(init=False, repr=False, default_factory=threading.Lock)
    _left: float = field(init=False, default=MOST_AT_ONCE)
    _at_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._delays, self._at_s = SignInDelays(self.clock), self.clock()

    def check(self, authorization: str, address: str) -> None:
        """Let a request in.

        Raises:
            HTTPException: 401, the token is another one; 429, there were too many wrong ones, or too many requests.
        """
        name = f"fleet {address}"
        if (tried := self._delays.begin(name, address)).wait_s > 0:
            raise _later(tried.wait_s)
        if not self._knows(authorization):
            raise HTTPException(HTTPStatus.UNAUTHORIZED, "this needs the token of the plant's central desk")
        self._delays.succeeded(name, address)
        with self._lock:
            now_s = self.clock()
            self._left = min(MOST_AT_ONCE, self._left + A_SECOND * (now_s - self._at_s))
            self._at_s = now_s
            if self._left < 1:
                raise _later((1 - self._left) / A_SECOND)
            self._left -= 1

    def _knows(self, authorization: str) -> bool:
        sent = authorization.removeprefix(SCHEME).encode("utf-8", "surrogateescape")
        return authorization.startswith(SCHEME) and hmac.compare_digest(
            sha256(sent).digest(), sha256(self.token).digest()
        )


def _later(wait_s: float) -> HTTPException:
    headers = {"Retry-After": str(int(wait_s) + 1)}
    return HTTPException(HTTPStatus.TOO_MANY_REQUESTS, "too many requests", headers)
