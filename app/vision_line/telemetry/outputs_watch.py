# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run knows of its outputs: one thread that reads their file every few seconds. Nothing that inspects waits.

A process that says something new is there. By the monotonic clock it is silent after a while: the wall clock may be set
back, or begin years ago in a box without a battery, and then what a dead process said last would be new for as long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line.errors import RunError
from vision_line.telemetry.output_status import SILENT_S, KnownOutput, known_outputs
from vision_line.telemetry.shipping_status import CENTRAL, read_shipping_status

logger = logging.getLogger(__name__)

#: How often the file is looked at, in seconds.
READ_EVERY_S = 2.0
#: How long `close` waits for a read that hangs.
_CLOSE_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class WatchedOutput:
    """An output that is configured; `known` is None where it never began. `is_awaited`: it may just be starting."""

    name: str
    known: KnownOutput | None
    is_running: bool
    is_up: bool
    is_awaited: bool = False


class OutputsWatch:
    """Owns the thread; `outputs` may be asked from any."""

    def __init__(
        self,
        directory: Path,
        names: Collection[str],
        period_s: float = READ_EVERY_S,
        utc: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`names` are the outputs that are to get something; `utc` and `clock` give seconds."""
        self._directory = directory
        self._names = tuple(names)
        self._period_s = period_s
        self._utc = utc
        self._clock = clock
        self._began_s = clock()
        self._outputs: dict[str, KnownOutput] = {}
        self._shipping: dict[str, KnownOutput] = {}
        self._said_utc: dict[str, float] = {}  # what each process last said the time was
        self._heard_s: dict[str, float] = {}  # when it said that
        self._problems: list[str] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outputs watch", daemon=True)
        self._thread.start()

    def expect(self, names: Collection[str]) -> None:
        """Watch these from now on, and give them time to begin."""
        if set(names) != set(self._names):
            self._began_s = self._clock()
        self._names = tuple(names)

    def outputs(self) -> Sequence[WatchedOutput]:
        """Return how each configured output is now."""
        now_s = self._clock()
        is_awaited = now_s - self._began_s <= SILENT_S
        return [self._watched(name, now_s, is_awaited=is_awaited) for name in self._names]

    def close(self) -> None:
        """Look no more. May be called twice."""
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _watched(self, name: str, now_s: float, *, is_awaited: bool) -> WatchedOutput:
        known = self._shipping.get(name) or self._outputs.get(name)
        if known is None:
            return WatchedOutput(name, None, is_running=False, is_up=False, is_awaited=is_awaited)
        heard_s = self._heard_s.get(name)
        is_running = heard_s is not None and now_s - heard_s <= SILENT_S
        return WatchedOutput(
            name, known, is_running, is_running and known.takes_messages, is_awaited and not is_running
        )

    def _run(self) -> None:
        self._refresh()
        while not self._closing.wait(self._period_s):
            self._refresh()

    def _refresh(self) -> None:
        """Read the files anew; what one said that cannot be read now stands: its age shows, and no counter falls."""
        if not self._names:
            return
        problems = []
        try:
            self._outputs = {output.name: output for output in known_outputs(self._directory)}
        except RunError as exc:
            problems.append(str(exc))
        try:
            shipping = read_shipping_status(self._directory) if CENTRAL in self._names else None
            self._shipping = {} if shipping is None else {CENTRAL: shipping.as_output}
        except RunError as exc:
            problems.append(str(exc))
        self._hear()
        for problem in problems:
            if problem not in self._problems:
                logger.warning("nobody knows how the outputs are: %s", problem)
        self._problems = problems

    def _hear(self) -> None:
        """Note which process has said something new; how old what is found first is, only the wall clock can say."""
        now_s, now_utc = self._clock(), self._utc()
        for name, known in (self._outputs | self._shipping).items():
            if known.state is None:
                continue
            said_utc, before = known.state.updated_utc, self._said_utc.get(name)
            if before is None:
                self._heard_s[name] = now_s - abs(now_utc - said_utc)
            elif said_utc != before:
                self._heard_s[name] = now_s
            self._said_utc[name] = said_utc
