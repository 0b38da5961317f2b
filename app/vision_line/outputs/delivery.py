# SPDX-License-Identifier: AGPL-3.0-or-later
"""One output's life: connect, send, wait, and after a trouble begin anew."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum

from vision_line.errors import RunError
from vision_line.outputs.cursor import JournalName
from vision_line.outputs.cursor_file import CursorFile
from vision_line.outputs.follower import Follower, MessageBatch
from vision_line.outputs.line_alarms import AlarmNews
from vision_line.outputs.message_sink import MessageSink, ShownState, SinkError, to_next_turn_s
from vision_line.outputs.retry_delay import RetryDelay
from vision_line.telemetry.output_status import OutputState

logger = logging.getLogger(__name__)

#: How long records or cursors that cannot be used are left alone, in seconds.
RECORDS_RETRY_S = 5.0
#: How often the file of the cursors is asked whether somebody wants something again, in seconds.
REPLAY_TURN_S = 1.0


class DeliveryState(StrEnum):
    """How an output is. Stable: shown and exported."""

    CONNECTING = "connecting"
    READY = "ready"  # nothing was sent yet, so nobody knows whether the other side takes it
    CONNECTED = "connected"
    RETRYING = "retrying"
    DISABLED = "disabled"


class Delivery:
    """Hands over what followers give to a sink, until it is cancelled. The followers of several journals take turns."""

    def __init__(
        self,
        name: str,
        followers: Sequence[Follower],
        shown_state: Callable[[], ShownState],
        cursors: CursorFile,
        connect: Callable[[], MessageSink],
        alarms: AlarmNews | None = None,
    ) -> None:
        """`shown_state` returns how the line is now; `connect` makes a sink for one connection.

        `alarms` is None for an output that does not ask for them.
        """
        self._alarms = alarms
        self.name = name
        self._followers = deque(followers)
        self._shown_state = shown_state
        self._cursors = cursors
        self._make_sink = connect
        self._delay = RetryDelay()
        self._state = DeliveryState.CONNECTING
        self._since_utc = time.time()
        self._error: str | None = None
        self._worked_until_s = 0.0
        self._left_alone_until_s: dict[JournalName, float] = {}  # journals that cannot be read
        self._asks_again_s = 0.0
        self._is_known = False  # the other side has acknowledged something

    async def run(self) -> None:
        """Deliver for ever; ends only where the other side wants nothing any more."""
        while True:
            sink = self._make_sink()
            began_s = self._worked_until_s = time.monotonic()
            try:
                self._is(DeliveryState.CONNECTING if self._error is None else DeliveryState.RETRYING)
                await sink.connect()
                await self._deliver(sink)
            except SinkError as exc:
                if exc.is_final:
                    self._failed(exc, DeliveryState.DISABLED)
                    return
                delay_s = self._delay.after(exc, self._worked_until_s - began_s)
                self._failed(exc, DeliveryState.RETRYING)
            except RunError as exc:  # the cursors: a full disk, a file being replaced
                delay_s = RECORDS_RETRY_S
                self._failed(exc, DeliveryState.RETRYING)
            except Exception as exc:
                delay_s = RECORDS_RETRY_S
                logger.exception("output %r: a fault of the program; the other outputs go on", self.name)
                self._failed(RunError(f"a fault of the program: {type(exc).__name__}: {exc}"), DeliveryState.RETRYING)
            finally:
                await self._close(sink)
            await asyncio.sleep(delay_s)

    async def _close(self, sink: MessageSink) -> None:
        """Let go of the connection; a goodbye that fails is no reason for the other outputs to end."""
        try:
            await sink.close()
        except Exception:
            logger.exception("output %r: a fault of the program at its goodbye; the outputs go on", self.name)

    async def _deliver(self, sink: MessageSink) -> None:
        is_shown = False
        if self._alarms is not None:
            self._alarms.begin_anew()
        if sink.connects or self._error is None:
            self._is(self._reached(sink))
        while True:
            self._worked_until_s = time.monotonic()
            self._replay()
            if (found := self._next(sink)) is not None:
                await self._hand_over(sink, *found)
            else:
                if not (is_shown or self._left_alone_until_s):
                    is_shown = await self._show(sink)
                sink.check()
            await self._say_alarms(sink)  # behind each window: they are of now, also where a backlog takes hours
            if found is None:
                await asyncio.sleep(to_next_turn_s(sink.turn_s))

    async def _show(self, sink: MessageSink) -> bool:
        """Show how the line is now; return whether that could be read."""
        try:
            state = self._shown_state()
        except RunError as exc:
            self._leave_alone(JournalName.RECORDS, exc)
            return False
        await sink.show(state)
        self._works(sink)
        return True

    async def _say_alarms(self, sink: MessageSink) -> None:
        news = None if self._alarms is None else self._alarms.due()
        if self._alarms is not None and news is not None:
            await sink.send([news])
            self._alarms.said(news)

    def _next(self, sink: MessageSink) -> tuple[Follower, MessageBatch] | None:
        """Return what comes next of the follower whose turn it is, None: nothing waits anywhere.

        A journal that cannot be read is left alone for a while; the others do not wait for it.
        """
        for _ in range(len(self._followers)):
            follower = self._followers[0]
            self._followers.rotate(-1)
            journal = follower.key.journal
            if time.monotonic() < self._left_alone_until_s.get(journal, 0.0):
                continue
            try:
                batch = follower.next(sink.window)
            except RunError as exc:
                self._leave_alone(journal, exc)
                continue
            if self._left_alone_until_s.pop(journal, None) is not None:
                self._works(sink)
            if batch is not None:
                return follower, batch
        return None

    async def _hand_over(self, sink: MessageSink, follower: Follower, batch: MessageBatch) -> None:
        if batch.messages:
            follower.tried(batch)
            await sink.send(batch.messages)
            self._is_known = True
            self._works(sink)
        follower.done(batch)
        await asyncio.sleep(0)  # what nobody wants is passed over without waiting: others have their turn

    def _replay(self) -> None:
        """Go back where somebody asked for it; the file is asked now and then, for that is seldom."""
        if time.monotonic() < self._asks_again_s:
            return
        self._asks_again_s = time.monotonic() + REPLAY_TURN_S
        for follower in self._followers:
            behind = self._cursors.asked_replay(follower.key)
            if behind is not None:
                words = "output %r: sends everything behind entry %d of the %s again"
                logger.info(words, self.name, behind, follower.key.journal)
                follower.go_back(behind)
                self._cursors.end_replay(follower.key, behind)

    def _reached(self, sink: MessageSink) -> DeliveryState:
        return DeliveryState.CONNECTED if sink.connects or self._is_known else DeliveryState.READY

    def _leave_alone(self, journal: JournalName, error: RunError) -> None:
        self._left_alone_until_s[journal] = time.monotonic() + RECORDS_RETRY_S
        self._failed(error, DeliveryState.RETRYING)

    def _works(self, sink: MessageSink) -> None:
        """Note that something went well; while a journal is left alone not all is well."""
        if not self._left_alone_until_s:
            self._is(self._reached(sink))
            self._recovered()

    def _is(self, state: DeliveryState) -> None:
        if state is not self._state:
            self._state, self._since_utc = state, time.time()

    def _failed(self, error: Exception, state: DeliveryState) -> None:
        self._is(state)
        if str(error) != self._error:
            end = (
                "; it is disabled until its configuration changes or a restart"
                if state is DeliveryState.DISABLED
                else ""
            )
            logger.warning("output %r: %s%s", self.name, error, end)
        self._error = str(error)

    def _recovered(self) -> None:
        if self._error is not None:
            logger.info("output %r: works again", self.name)
            self._error = None

    def note(self) -> None:
        """Note the cursors.

        Raises:
            RunError: the file cannot be written.
        """
        for follower in self._followers:
            follower.note()

    def state(self) -> OutputState:
        """Return how the output is; what waits in a journal that cannot be read is not counted."""
        now_utc = time.time()
        backlogs = [found for follower in self._followers if (found := _backlog(follower)) is not None]
        waits_s = [now_utc - written_utc for _, written_utc in backlogs if written_utc is not None]
        behind = sum(entries for entries, _ in backlogs)
        return OutputState(self._state, self._since_utc, self._error, behind, max(0.0, *waits_s, 0.0), now_utc)


def _backlog(follower: Follower) -> tuple[int, float | None] | None:
    """Return what waits, None: nobody knows, which the delivery says."""
    try:
        return follower.backlog()
    except RunError:
        return None
