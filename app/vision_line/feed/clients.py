# SPDX-License-Identifier: AGPL-3.0-or-later
"""The clients of the feed, served in turns by one thread."""

from __future__ import annotations

import logging
import selectors
import socket
import time

from vision_line.feed.client_queue import Dropped
from vision_line.feed.distribution import Distribution, publish_beat, publish_dropped, publish_journal
from vision_line.feed.feed_connection import FeedConnection
from vision_line.feed.headers import FeedFacts, hello_header
from vision_line.feed.offers import Offers
from vision_line.feed.protocol import packed
from vision_line.feed.wants import WANT_KEYS, Want
from vision_line.ports import FeedStatus

logger = logging.getLogger(__name__)

#: Clients at the same time; one more is sent away.
MOST_CLIENTS = 16
#: How often clients hear what they did not get, and those that linger are looked at, in seconds.
TICK_S = 0.25
#: How often those who want beats get one, in seconds.
BEAT_S = 0.1
#: How long nobody is admitted when the process has no file descriptor left, in seconds.
PAUSE_S = 1.0


class FeedClients:
    """All clients, from the first turn to `close`; one thread. `status` may be read by any."""

    def __init__(self, listener: socket.socket, offers: Offers, facts: FeedFacts) -> None:
        """Admit from `listener`, which stays its owner's."""
        self._listener = listener
        self._offers = offers
        self._facts = facts
        self._distribution = Distribution(facts.classes)
        self._clients: dict[FeedConnection, int] = {}  # and what the selector watches each for
        self._gone = Dropped()  # what clients that are gone did not get
        self._sent_away = 0
        self._results_lost = 0
        self._ticked_s = self._beaten_s = float("-inf")
        self._paused_until_s: float | None = None
        self.status = FeedStatus()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(offers.inbox.descriptor, selectors.EVENT_READ)

    def turn(self) -> None:
        """Wait for whatever comes first, and serve it."""
        ready = self._selector.select(self._longest_wait_s())
        now_s = time.monotonic()
        for key, mask in ready:
            if isinstance(key.data, FeedConnection):
                self._serve(key.data, mask, now_s)
            elif key.fileobj is self._listener:
                self._admit(now_s)
        self._distribute(now_s)
        self._tend(now_s)

    def _longest_wait_s(self) -> float | None:
        if not self._clients:
            return None if self._paused_until_s is None else TICK_S
        wants = [client.want for client in self._clients]
        beat_s = BEAT_S if any(want.beats for want in wants) else TICK_S
        return min([beat_s, *(want.patience_s for want in wants if want.is_patient)])

    def part(self, reason: str, within_s: float) -> None:
        """Give all clients what waits and is never dropped, then `reason`; not for longer than `within_s`."""
        if self._paused_until_s is None:
            self._selector.unregister(self._listener)
        now_s = time.monotonic()
        ends_s = now_s + within_s
        self._distribute(now_s)
        self._selector.unregister(self._offers.inbox.descriptor)
        for client in self._clients:
            client.part(reason, now_s)
        while self._clients and (now_s := time.monotonic()) < ends_s:
            self._tend(now_s)
            for key, _ in self._selector.select(max(0.0, min(TICK_S, ends_s - now_s))):
                if isinstance(key.data, FeedConnection):
                    key.data.send()

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            self._let_go(client)
        self._clients.clear()
        self._selector.close()
        self._note_status()

    def _admit(self, now_s: float) -> None:
        try:
            connected, _ = self._listener.accept()
        except BlockingIOError:
            return  # whoever it was has gone again
        except OSError as exc:  # no file descriptor is left: the socket would stay readable, and this thread busy
            logger.warning("feed: a client cannot be admitted: %s", exc.strerror or exc)
            self._selector.unregister(self._listener)
            self._paused_until_s = now_s + PAUSE_S
            return
        hello = hello_header(self._facts, self._offers.cameras, self._offers.journal, WANT_KEYS)
        client = FeedConnection(connected, packed(hello))
        self._clients[client] = client.awaits
        self._selector.register(connected, client.awaits, client)
        if len(self._clients) > MOST_CLIENTS:
            client.leave(f"more than {MOST_CLIENTS} clients at once", now_s)

    def _serve(self, client: FeedConnection, mask: int, now_s: float) -> None:
        if mask & selectors.EVENT_READ:
            for want in client.receive(now_s):
                self._adopt(client, want, now_s)
        if mask & selectors.EVENT_WRITE and not client.is_over:
            client.send()

    def _adopt(self, client: FeedConnection, want: Want, now_s: float) -> None:
        before, client.want = client.want, want
        queue = client.queue
        queue.begin([name for name in queue.cameras if want.frames_of(name) is not before.frames_of(name)])
        unknown = want.unknown(self._offers.cameras)
        client.sure(packed({"kind": "wanted", "unknown_cameras": unknown}), now_s)
        self._demand_anew()
        if want.journal and not before.journal and self._offers.journal:
            publish_journal(self._offers.journal, [client])

    def _demand_anew(self) -> None:
        self._offers.want([client.want for client in self._clients if not client.is_leaving])

    def _distribute(self, now_s: float) -> None:
        """Put what has come from the run's threads into the clients' queues.

        What was lost is counted once all before it has been taken: results that follow a lost one come behind the word.
        """
        items = self._offers.inbox.take()
        present = [client for client in self._clients if not client.is_leaving]
        if self._offers.is_overrun:
            self._offers.is_overrun = False
            for client in present:
                if client.want.decisions or client.want.journal:
                    client.leave("the feed could not keep up, so decisions are missing", now_s)
        if lost := self._offers.results_lost - self._results_lost:
            self._results_lost += lost
            for client in present:
                client.queue.dropped.results += lost if client.want.wants_results else 0
        for item in items:
            self._distribution.publish(item, present, now_s)

    def _tend(self, now_s: float) -> None:
        """Send what can be sent, remove who is gone, and watch each socket for what it is to do next."""
        if now_s - self._ticked_s >= TICK_S:
            self._tick(now_s)
        if now_s - self._beaten_s >= BEAT_S:
            self._beaten_s = now_s
            publish_beat([client for client in self._clients if client.want.beats and not client.is_leaving], now_s)
        for client in list(self._clients):
            if client.misses_results:  # at once: whoever decides by what follows must know
                self._say_missing(client)
            if client.has_bytes and not self._clients[client] & selectors.EVENT_WRITE:  # else its socket is full
                client.send()
            if client.is_over:
                self._remove(client)
            elif client.awaits != self._clients[client]:
                self._clients[client] = client.awaits
                self._selector.modify(client.socket, client.awaits, client)

    def _tick(self, now_s: float) -> None:
        self._ticked_s = now_s
        if self._paused_until_s is not None and now_s >= self._paused_until_s:
            self._paused_until_s = None
            self._selector.register(self._listener, selectors.EVENT_READ)
        for client in self._clients:
            client.check(now_s)
            self._say_missing(client)
        self._note_status()

    def _say_missing(self, client: FeedConnection) -> None:
        if client.misses_more():
            publish_dropped(client)

    def _remove(self, client: FeedConnection) -> None:
        del self._clients[client]
        self._let_go(client)
        self._demand_anew()
        self._note_status()

    def _let_go(self, client: FeedConnection) -> None:
        self._selector.unregister(client.socket)
        client.socket.close()
        self._gone.add(client.queue.dropped)
        self._sent_away += client.was_sent_away

    def _note_status(self) -> None:
        dropped = Dropped()
        for each in (self._gone, *(client.queue.dropped for client in self._clients)):
            dropped.add(each)
        self.status = FeedStatus(
            clients=len(self._clients),
            frames_dropped=dropped.frames.total(),
            results_dropped=dropped.results,
            snapshots_dropped=dropped.snapshots,
            clients_sent_away=self._sent_away + sum(client.was_sent_away for client in self._clients),
        )
