# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long somebody waits who typed wrong passwords: longer each time, per user and per address, in bounded memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

#: So many users and addresses are known at most; those whose wait was over longest go first.
MOST_KNOWN = 4096
#: Without a try for so long, in seconds, everything is as at first.
FORGIVEN_AFTER_S = 3600.0


class _Rule(NamedTuple):
    """So many tries are free; then 1 s, 2 s, 4 s, up to `longest_s`."""

    free: int
    longest_s: float

    def wait_s(self, failures: int) -> float:
        """Return how long to wait after so many tries."""
        return 0.0 if failures < self.free else min(self.longest_s, 2.0 ** min(failures - self.free, 32))


#: A user waits no longer than this: else whoever knows a name could keep its owner out.
_USER = _Rule(5, 60.0)
#: Many people may share an address.
_ADDRESS = _Rule(20, 900.0)


@dataclass(slots=True)
class _Tries:
    failures: int = 0
    next_s: float = 0.0


class Tried(NamedTuple):
    """A try. `wait_s` above 0: it does not count, and is not allowed yet. `notable`: this failure is to be entered."""

    wait_s: float
    failures: int
    notable: bool


class SignInDelays:
    """Counts tries before they are made, so that many at once gain nothing; from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[bytes, _Tries] = {}

    def __len__(self) -> int:
        """Return how many users and addresses are known."""
        return len(self._known)

    def begin(self, name: str, address: str) -> Tried:
        """Count a try of the user (whether there is one or not) from the address, or say how long it has to wait."""
        now_s = self._clock()
        with self._lock:
            pairs = [(self._tries(key, now_s), rule) for key, rule in _keys(name, address)]
            wait_s = max(tries.next_s - now_s for tries, _ in pairs)
            if wait_s > 0:
                return Tried(wait_s, 0, notable=False)
            for tries, rule in pairs:
                tries.failures += 1
                tries.next_s = now_s + rule.wait_s(tries.failures)
            failures = max(tries.failures for tries, _ in pairs)
            return Tried(0.0, failures, any(_is_notable(tries.failures, rule) for tries, rule in pairs))

    def succeeded(self, name: str, address: str) -> None:
        """Begin the user anew; the address gets back this one try, or its own user could guess others' passwords."""
        (user, _), by_address = _keys(name, address)
        with self._lock:
            self._known.pop(user, None)
            self._take_back(*by_address)

    def take_back(self, name: str, address: str) -> None:
        """Not count a try that could not be made."""
        with self._lock:
            for key, rule in _keys(name, address):
                self._take_back(key, rule)

    def _take_back(self, key: bytes, rule: _Rule) -> None:
        if tries := self._known.get(key):
            tries.failures -= 1
            tries.next_s = self._clock() + rule.wait_s(tries.failures)

    def _tries(self, key: bytes, now_s: float) -> _Tries:
        tries = self._known.get(key)
        if tries is None or now_s - tries.next_s > FORGIVEN_AFTER_S:
            tries = self._known[key] = _Tries(0, now_s)
            if len(self._known) > MOST_KNOWN:
                del self._known[min(self._known, key=lambda one: (one == key, self._known[one].next_s))]
        return tries


def _is_notable(failures: int, rule: _Rule) -> bool:
    """Whether the free tries are used up now, or twice as many, or four times as many, and so on."""
    times, rest = divmod(failures, rule.free)
    return rest == 0 and times.bit_count() == 1


def _keys(name: str, address: str) -> tuple[tuple[bytes, _Rule], tuple[bytes, _Rule]]:
    """Return both keys, of one size whatever was typed."""
    user = sha256(b"user " + name.encode("utf-8", "surrogatepass")).digest()
    return (user, _USER), (sha256(f"address {_network(address)}".encode()).digest(), _ADDRESS)


def _network(address: str) -> str:
    """Return whom an address belongs to: with IPv6 one machine has a whole /64."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:  # a UNIX socket's client has none
        return ""
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found.packed[:8] + bytes(8), 64)))
    return str(found)
