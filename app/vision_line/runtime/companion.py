# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run needs of a process that was started with it: the desk, the outputs, the lanes, the shipper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Companion(Protocol):
    """A process beside the run, started and ended by whoever started the run."""

    @property
    def trouble(self) -> str:
        """Return that it does not run, and how it ended; "" where it runs."""

    def reload(self) -> None:
        """Have it read its configuration and its secrets again."""


def companion_alarms(companions: Sequence[Companion]) -> list[str]:
    """Return a sentence for each that does not run: what it was to do, nobody does."""
    return [companion.trouble for companion in companions if companion.trouble]
