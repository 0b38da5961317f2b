# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who lives, by the observer's own monotonic clock: no clock of another machine is ever compared with it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

#: How often a node renews its key, in seconds.
HEARTBEAT_S = 0.75
#: A node lives as long as its key changed within this time of the observer's clock.
LEASE_S = 3.0
#: Nobody is counted out unless one's own heartbeat came back within this time: else the watch may be what is silent.
ECHO_S = 1.6


@dataclass(slots=True)
class _Heard:
    revision: int
    at_s: float
    lost_s: float | None = None  # when its lease had ended; None: it lives
    has_left: bool = False
    asked_s: float = -inf  # when the store was asked last whether it has news of it


class Membership:
    """What one observer knows of all nodes, itself among them, from the revisions that its watch brings."""

    def __init__(self, own: str, lease_s: float = LEASE_S) -> None:
        """Observe as the node `own`."""
        self._own = own
        self._lease_s = lease_s
        self._heard: dict[str, _Heard] = {}
        self._echo_s: float | None = None  # when the own heartbeat came back last
        self._hears_since_s: float | None = None  # since when it came back in time, again and again

    def heard(self, node: str, revision: int, now_s: float, *, has_left: bool = False) -> bool:
        """Note a node's key as the watch brought it; return whether it is news: a known revision is no sign of life."""
        known = self._heard.get(node)
        if known is not None and known.revision == revision:
            return False
        self._heard[node] = _Heard(revision, now_s, now_s if has_left else None, has_left)
        if node == self._own:
            self._check_echo(now_s)
            self._echo_s = now_s
            if self._hears_since_s is None:
                self._hears_since_s = now_s
        return True

    def tick(self, now_s: float) -> list[str]:
        """Return the nodes whose lease is over, if this observer hears.

        The store is to be asked for them, because watches lose things: only `confirm` ends a lease.
        """
        self._check_echo(now_s)
        doubtful = [
            name
            for name, heard in self._heard.items()
            if self._is_over(heard, now_s) and now_s - heard.asked_s >= HEARTBEAT_S
        ]
        for name in doubtful:
            self._heard[name].asked_s = now_s
        return doubtful

    def confirm(self, node: str, revision: int, now_s: float) -> None:
        """Take in which revision the store has of a node, 0: none. Unless it is a new one, the node is lost."""
        self._check_echo(now_s)
        heard = self._heard.get(node)
        if heard is not None and revision in {0, heard.revision} and self._is_over(heard, now_s):
            heard.lost_s = now_s

    def _is_over(self, heard: _Heard, now_s: float) -> bool:
        """Whether a node's lease has ended now."""
        if self._hears_since_s is None or heard.lost_s is not None:
            return False
        return now_s - max(heard.at_s, self._hears_since_s) > self._lease_s

    @property
    def is_hearing(self) -> bool:
        """Whether the own heartbeat comes back in time."""
        return self._hears_since_s is not None

    def is_deaf(self, now_s: float) -> bool:
        """Return whether the own heartbeat came back once, and not for more than a lease since."""
        return self._echo_s is not None and now_s - self._echo_s > self._lease_s

    def has_heard_all(self, now_s: float) -> bool:
        """Return whether it hears for a whole lease: whoever lives was heard, and who was not is gone."""
        return self._hears_since_s is not None and now_s - self._hears_since_s > self._lease_s

    def living(self) -> frozenset[str]:
        """Return the nodes that live."""
        return frozenset(name for name, heard in self._heard.items() if heard.lost_s is None)

    def lost(self) -> dict[str, float]:
        """Return the nodes that fell silent without a word, with when their lease had ended."""
        return {
            name: heard.lost_s for name, heard in self._heard.items() if heard.lost_s is not None and not heard.has_left
        }

    def _check_echo(self, now_s: float) -> None:
        if self._echo_s is not None and now_s - self._echo_s > ECHO_S:
            self._hears_since_s = None
