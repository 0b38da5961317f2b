# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many nodes gone at once are a network that broke, not that many power failures: hold, and say so. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from vision_line.fleet.membership import LEASE_S

#: For how many leases nothing is moved.
HELD_LEASES = 3


class Breaker:
    """Holds moves for three leases when more than a third of the nodes, and at least two, fell silent in one lease."""

    def __init__(self, lease_s: float = LEASE_S) -> None:
        """Begin with nobody lost."""
        self._lease_s = lease_s
        self._held_for: frozenset[str] = frozenset()  # the nodes whose loss was held for
        self._until_s: float | None = None

    def note(self, now_s: float, living: frozenset[str], lost: Mapping[str, float]) -> None:
        """Take in who lives and who was lost when."""
        if self._until_s is not None:
            if not self._are_many(len(self._held_for - living), len(living)):
                # The network comes back: so will the others, within a lease.
                self._until_s = min(self._until_s, now_s + self._lease_s)
            if now_s < self._until_s:
                return
            self._until_s = None
        # A loss is held for once: if the nodes stay away, the plant goes on with those that are left.
        self._held_for = frozenset(self._held_for & lost.keys())
        recent = {name for name, at_s in lost.items() if now_s - at_s <= self._lease_s and name not in self._held_for}
        if self._are_many(len(recent), len(living)):
            self._held_for |= recent
            self._until_s = now_s + HELD_LEASES * self._lease_s

    @property
    def is_holding(self) -> bool:
        """Whether nothing is to be moved now."""
        return self._until_s is not None

    @staticmethod
    def _are_many(lost: int, living: int) -> bool:
        return lost >= 2 and lost * 3 > lost + living
