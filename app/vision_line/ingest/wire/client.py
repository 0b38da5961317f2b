# SPDX-License-Identifier: AGPL-3.0-or-later
"""A playing camera as a stream of RTP packets in their order, with the signs of life that keep it playing."""

from __future__ import annotations

import secrets
import selectors
import threading
from collections.abc import Iterator

from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.wire.connection import Interleaved
from vision_line.ingest.wire.dialogue import TICK_S
from vision_line.ingest.wire.fragments import FRAGMENTS
from vision_line.ingest.wire.message import ProtocolError
from vision_line.ingest.wire.negotiation import Playing
from vision_line.ingest.wire.rtp import (
    Reorder,
    RtpPacket,
    SenderReport,
    Sequence,
    parse_rtp,
    parse_run,
    read_reports,
    receiver_report,
)
from vision_line.wakefulness import Wakefulness

REPORT_EVERY_S = 5.0
#: No camera sends so much, but one that means to: it would take the time of all others.
MAX_BYTES_PER_S = 64e6
MAX_PACKETS_PER_S = 50e3
_RATE_OVER_S = 2.0
#: So many are read before reports, the connection and signs of life have their turn: there may always be another.
DATAGRAMS_AT_ONCE = 256
#: A pass that takes so much longer than it may wait was a break of ours.
BREAK_S = 1.0


class GoodbyeError(Exception):
    """The camera says that its stream is over."""


class RtspClient:
    """Reads one camera. Used by one thread."""

    def __init__(self, playing: Playing, stop: threading.Event, clocks: Clocks, read_timeout_s: float) -> None:
        """Take over a camera that plays; `close` lets it go."""
        self.sequence = Sequence()
        self.report: SenderReport | None = None
        self.arrived = (clocks.monotonic(), clocks.utc())  # of the packets that were yielded last, both clocks
        fragments = FRAGMENTS.get(playing.track.codec)
        self.parse = parse_run if fragments is None else fragments.joined
        self._playing = playing
        self._stop = stop
        self._clocks = clocks
        self._read_timeout_s = read_timeout_s
        self._own_source = secrets.randbits(32)
        now_s = self.arrived[0]
        self._wakefulness = Wakefulness(TICK_S + BREAK_S)
        self._heard_s = self._life_s = self._reported_s = self._report_came_s = self._rated_s = now_s
        self._packets = self._bytes = 0  # since `_rated_s`

    def runs(self) -> Iterator[list[RtpPacket]]:
        """Yield the packets, those that arrived together in one list, until told to stop.

        Their payloads are valid until the next list is asked for; `arrived` says when they came.

        Raises:
            TimeoutError: no packet for `read_timeout_s`.
            GoodbyeError, ProtocolError, OSError: the stream is over, makes no sense or is a flood, or is lost.
        """
        for channel, data in self._playing.dialogue.early:
            yield self._packets_in(channel, memoryview(data))
        self._playing.dialogue.early.clear()
        yield from self._interleaved() if self._playing.datagrams is None else self._datagrams()

    def close(self) -> None:
        """Send TEARDOWN and close everything; idempotent."""
        playing = self._playing
        playing.dialogue.leave(playing.control_url)
        playing.connection.close()
        if playing.datagrams is not None:
            playing.datagrams.close()

    def _interleaved(self) -> Iterator[list[RtpPacket]]:
        connection = self._playing.connection
        while not self._stop.is_set():
            if n := connection.receive(TICK_S):
                yield from self._read()
                self._count(n)
            else:
                self._check_silence()
            self._keep_alive()

    def _read(self) -> Iterator[list[RtpPacket]]:
        """Yield the packets among what was read, up to anything else at a time; all of it arrived now."""
        self._note_arrival()
        framer, media = self._playing.connection.framer, self._playing.channels[0]
        while True:
            yield self._media(framer.take_run(media))
            item = framer.take()
            if item is None:
                return
            if isinstance(item, Interleaved):
                yield self._packets_in(*item)
            else:
                self._playing.dialogue.notice(item)

    def _note_arrival(self) -> None:
        self.arrived = (self._clocks.monotonic(), self._clocks.utc())

    def _packets_in(self, channel: int, data: memoryview) -> list[RtpPacket]:
        """Return the media packet in `data`, if it is one; reports are read at once."""
        media, control = self._playing.channels
        if channel == media:
            return self._media([data])
        self._packets += 1
        if channel == control:
            self._read_reports(data)
        return []

    def _media(self, run: list[memoryview]) -> list[RtpPacket]:
        self._packets += len(run)
        packets = self.parse(run)
        if packets:
            self._heard_s = self.arrived[0]
        return packets

    def _datagrams(self) -> Iterator[list[RtpPacket]]:
        pair, connection = self._playing.datagrams, self._playing.connection
        if pair is None:
            return
        reorder = Reorder()
        with selectors.DefaultSelector() as selector:
            for sock in (pair.rtp, pair.rtcp, connection.socket):
                selector.register(sock, selectors.EVENT_READ)
            while not self._stop.is_set():
                ready = {key.fileobj for key, _ in selector.select(TICK_S / 2)}
                self._note_arrival()
                yield reorder.overdue(self.arrived[0])
                for _ in range(DATAGRAMS_AT_ONCE if pair.rtp in ready else 0):
                    data = pair.receive(pair.rtp)
                    if data is None:
                        break
                    self._note_arrival()  # each: between two of them a frame may have been decoded
                    self._packets += 1
                    self._count(len(data))
                    packet = parse_rtp(memoryview(data))
                    if packet is not None:
                        self._heard_s = self.arrived[0]
                        yield reorder.push(packet, self.arrived[0])
                while pair.rtcp in ready and (data := pair.receive(pair.rtcp)) is not None:
                    self._packets += 1
                    self._count(len(data))
                    self._read_reports(memoryview(data))
                if connection.socket in ready and (n := connection.receive(TICK_S)):
                    yield from self._read()
                    self._count(n)
                if not ready:
                    self._check_silence()
                self._keep_alive()

    def _count(self, size: int) -> None:
        """Count bytes that were read, and give up a camera that floods us."""
        self._bytes += size
        if self._packets > MAX_PACKETS_PER_S * _RATE_OVER_S or self._bytes > MAX_BYTES_PER_S * _RATE_OVER_S:
            if self._clocks.monotonic() - self._rated_s < _RATE_OVER_S:
                raise ProtocolError(f"{self._packets} packets, {self._bytes} bytes within {_RATE_OVER_S:g} s")
            self._start_rating()

    def _start_rating(self) -> None:
        self._rated_s, self._packets, self._bytes = self._clocks.monotonic(), 0, 0

    def _read_reports(self, data: memoryview) -> None:
        report, bye = read_reports(data)
        if report is not None and self.sequence.source in (None, report.source):
            self.report, self._report_came_s = report, self.arrived[0]
        if bye:
            raise GoodbyeError

    def _check_silence(self) -> None:
        """Give up a camera of which nothing waits to be read; one that was read late has done no wrong."""
        now_s = self._clocks.monotonic()
        if now_s - max(self._heard_s, self._wakefulness.since_s(now_s)) > self._read_timeout_s:
            raise TimeoutError("no packet comes")

    def _keep_alive(self) -> None:
        """Do what is due beside reading."""
        now_s, playing = self._clocks.monotonic(), self._playing
        self._wakefulness.since_s(now_s)
        if now_s - self._rated_s > _RATE_OVER_S:
            self._start_rating()
        if now_s - self._life_s > playing.life_every_s:
            self._life_s = now_s
            playing.dialogue.show_life(playing.life_method, playing.control_url)
        if now_s - self._reported_s > REPORT_EVERY_S and self.sequence.source is not None:
            self._reported_s = now_s
            self._send_report(
                receiver_report(self._own_source, self.sequence, self.report, now_s - self._report_came_s)
            )

    def _send_report(self, data: bytes) -> None:
        playing = self._playing
        if playing.datagrams is not None:
            playing.datagrams.report(data)
        else:
            playing.connection.send(b"$" + bytes([playing.channels[1]]) + len(data).to_bytes(2, "big") + data)
