# SPDX-License-Identifier: AGPL-3.0-or-later
"""When an output that sorts is on: for a while after a decision that is told in time, else never. Pure.

Its time is what passes, this machine's sleep with it: the belt goes on.
"""

from __future__ import annotations

from math import inf

from vision_line.config.modbus_settings import CoilSettings
from vision_line.parts.part import PartVerdict

#: How long a decision may wait for its module, and a module for its answer, in seconds.
PROMPT_S = 0.1
#: A write is expected to take so long where the module has not been slower, in seconds.
WRITE_S = 0.01
_GOOD = frozenset({PartVerdict.ACCEPT, PartVerdict.WARN})


class CoilPulse:
    """When one output is on."""

    def __init__(self, settings: CoilSettings) -> None:
        """Begin off."""
        self._is_on_for_good = settings.energised == "good"
        self._pulse_s = settings.pulse_ms / 1000
        self._decided_s = self._off_at_s = -1.0
        self._in_time_until_s = inf  # by when the module must have it
        self._is_delivered = True

    def decide(self, verdict: PartVerdict, now_s: float, deadline_s: float) -> None:
        """Take a decision of a part with a deadline; what diverts wins over what lets pass.

        What diverts may come behind the deadline: later than it should, it still is the safe side.
        """
        is_good = verdict in _GOOD
        if is_good is self._is_on_for_good:
            self._decided_s, self._off_at_s, self._is_delivered = now_s, now_s + self._pulse_s, False
            self._in_time_until_s = min(now_s + PROMPT_S, deadline_s if is_good else inf)
        elif self._is_on_for_good:
            self._off_at_s = now_s

    def is_on(self, now_s: float, write_s: float = 0.0) -> bool:
        """Return whether it is to be on, for a module that does so `write_s` later.

        A decision that would be too late by then lets nothing pass. One that diverts is told until it is too late.
        """
        expected_s = write_s if self._is_on_for_good else 0.0
        if not self._is_delivered and now_s + expected_s > self._in_time_until_s:
            self._off_at_s = now_s
        return now_s < self._off_at_s

    def patience_s(self, now_s: float) -> float:
        """Return how long a module may take for what `is_on` says now."""
        is_to_let_pass = self._is_on_for_good and not self._is_delivered and now_s < self._off_at_s
        return min(PROMPT_S, self._in_time_until_s - now_s) if is_to_let_pass else PROMPT_S

    def delivered(self, asked_s: float) -> None:
        """Note that the module has what `is_on` said at `asked_s`."""
        self._is_delivered = self._is_delivered or self._decided_s <= asked_s

    def lost(self) -> None:
        """Note that the module is away: nothing is on any more."""
        self._off_at_s = -1.0

    def changes_at_s(self, now_s: float) -> float | None:
        """Return when it goes off, None where it is."""
        return self._off_at_s if now_s < self._off_at_s else None
