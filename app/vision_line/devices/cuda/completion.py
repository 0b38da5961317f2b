# SPDX-License-Identifier: AGPL-3.0-or-later
"""The thread that waits for the GPU: it blocks without the GIL, and says which slot is done."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING

from vision_line.devices.cuda.context import translated_errors
from vision_line.devices.cuda.slots import Slot
from vision_line.errors import RunError

if TYPE_CHECKING:
    from vision_line.devices.cuda.context import GpuContext


class Completion:
    """Waits for started slots in the order they were started in, and puts each into `finished` when it is done.

    A slot whose work failed comes with its `fault` set. `wake` is called after each, in this thread.
    """

    def __init__(self, gpu: GpuContext, wake: Callable[[], None]) -> None:
        """Start the thread."""
        self.finished: deque[Slot] = deque()  # append and popleft are atomic
        self._gpu = gpu
        self._wake = wake
        self._started: SimpleQueue[Slot | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="cuda-results", daemon=True)
        self._thread.start()

    def watch(self, slot: Slot) -> None:
        """Wait for `slot`, whose `done` has been queued."""
        self._started.put(slot)

    def close(self, timeout_s: float) -> bool:
        """Wait for what was started and end the thread; return whether it ended in time. May be called twice."""
        self._started.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._gpu.enter()
        while (slot := self._started.get()) is not None:
            try:
                with translated_errors(RunError, "the GPU failed"):
                    slot.done.sync()
            except RunError as exc:
                slot.fault = str(exc)
            self.finished.append(slot)
            del slot  # else the thread would keep the last batch alive while it waits
            self._wake()
