# SPDX-License-Identifier: AGPL-3.0-or-later
"""Watches how busy the device is, beside everything else: a driver that hangs holds up nothing but the figures."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vision_line.ports import DeviceLoad

#: How often the device is asked: what drivers tell is a mean over about as long.
SAMPLE_EVERY_S = 1.0
#: How long a question may take at the end.
_CLOSE_TIMEOUT_S = 0.2


class LoadWatch:
    """Owns the thread that asks; it ends by itself where there is nothing to be told.

    It is a daemon thread and none of the event loop's executor, whose threads the program's exit waits for.
    """

    def __init__(
        self,
        ask: Callable[[], tuple[DeviceLoad, ...]],
        note: Callable[[tuple[DeviceLoad, ...]], None],
        period_s: float = SAMPLE_EVERY_S,
    ) -> None:
        """Start at once; `ask` and `note` are called in the thread, `note` with each answer of `ask`."""
        self._ask = ask
        self._note = note
        self._period_s = period_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="device loads", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask no more; a question that hangs is left to the end of the process. May be called twice."""
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            loads = self._ask()
            self._note(loads)
            if not loads:  # a device that tells nothing now never will
                return
            self._closing.wait(self._period_s)
