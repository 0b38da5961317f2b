# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many entries are shipped at once: fewer where so many take too long, as over a slow network. Pure."""

from __future__ import annotations

#: Twice as many entries take twice as long or a little more: they must fit surely.
_QUICK = 0.25


class BatchSize:
    """`most` entries are shipped at once."""

    def __init__(self, most: int) -> None:
        """Begin with the largest number there is to be."""
        self._largest = self.most = most

    def took_too_long(self) -> None:
        """Try half as many."""
        self.most = max(1, self.most // 2)

    def went_well(self, entries: int, of_limit: float) -> None:
        """Try twice as many where so many were shipped, in a small part, `of_limit` (0 to 1), of the time for it."""
        if entries >= self.most and of_limit < _QUICK:
            self.most = min(self._largest, self.most * 2)
