# SPDX-License-Identifier: AGPL-3.0-or-later
"""A live camera out of a looped clip: one clock, one RTP stream, any number of clients."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from vision_line.simulator.rtp_stream import TimedUnit, VideoStream, rtp_packets, sender_report, timestamp_of

REPORT_EVERY_S = 2.0
# A machine that was busy catches up; after a longer stop the camera shows the present.
MOST_LATE_S = 1.0


class Client(Protocol):
    """Where a camera's packets go; `send` never waits."""

    def is_behind(self) -> bool:
        """Tell whether the client has not taken what it was sent before."""
        ...

    def send(self, packets: list[bytes]) -> None:
        """Send the RTP packets of one frame."""
        ...

    def send_report(self, report: bytes) -> None:
        """Send one RTCP packet."""
        ...


@dataclass(slots=True)
class VirtualCamera:
    """A clip as a live camera: all clients see the same frame at the same time.

    It runs on one event loop. A client joins at the next IDR frame; one that falls behind is skipped up
    to the first IDR frame after it has caught up. `sent_log` gets one JSON line for each frame that was
    sent to a client.
    """

    name: str
    clip_id: int
    fps: int
    stream: VideoStream
    ssrc: int
    timestamp_base: int
    sent_log: TextIO | None = None
    clients: dict[Client, bool] = field(default_factory=dict)
    sequence: int = 0
    packets: int = 0
    octets: int = 0

    def join(self, client: Client) -> None:
        """Let a client in; its first frame is the next IDR frame."""
        self.clients[client] = False

    def leave(self, client: Client) -> None:
        """Let a client go; one that is not there is no error."""
        self.clients.pop(client, None)

    async def run(self, start_s: float) -> None:
        """Send frame n at `start_s` + n / fps of the loop's clock until cancelled."""
        loop = asyncio.get_running_loop()
        frame, next_report_s = 0, start_s
        while True:
            due_s = start_s + frame / self.fps
            await asyncio.sleep(max(due_s - loop.time(), 0.0))
            due_utc_s = time.time() - (loop.time() - due_s)
            started = self._show(frame)
            if started or (self.clients and due_s >= next_report_s):
                self._report(frame, due_utc_s)
                next_report_s = due_s + REPORT_EVERY_S
            frame += 1
            late_s = loop.time() - (start_s + frame / self.fps)
            if late_s > MOST_LATE_S:
                frame += int(late_s * self.fps)
                self._break_off()

    def _break_off(self) -> None:
        """Let all clients begin again at an IDR frame."""
        self.clients = dict.fromkeys(self.clients, False)

    def _show(self, frame: int) -> bool:
        """Send one frame to those who can take it; returns whether a client saw its first one."""
        turn, index = divmod(frame, len(self.stream.units))
        unit = self.stream.units[index]
        timestamp = timestamp_of(self.timestamp_base, frame, self.fps)
        sent = rtp_packets(unit, self.sequence, timestamp, self.ssrc) if self.clients else []
        started = False
        receivers = 0
        for client, in_step in list(self.clients.items()):
            takes = (in_step or unit.idr) and not client.is_behind()
            started |= takes and not in_step
            self.clients[client] = takes
            if takes:
                client.send(sent)
                receivers += 1
        if receivers:
            self._log(turn, index, timestamp)
        self._count(unit)
        return started

    def _count(self, unit: TimedUnit) -> None:
        """Advance the stream's numbers: they go on whether somebody looks or not."""
        self.sequence = (self.sequence + len(unit.payloads)) & 0xFFFF
        self.packets += len(unit.payloads)
        self.octets += sum(map(len, unit.payloads))

    def _report(self, frame: int, utc_s: float) -> None:
        timestamp = timestamp_of(self.timestamp_base, frame, self.fps)
        report = sender_report(self.ssrc, utc_s, timestamp, self.packets, self.octets)
        for client in self.clients:
            client.send_report(report)

    def _log(self, turn: int, index: int, timestamp: int) -> None:
        if self.sent_log is not None:
            line = {
                "camera": self.name,
                "loop": turn,
                "index": index,
                "clip_id": self.clip_id,
                "sent_utc_s": round(time.time(), 6),
                "rtp_timestamp": timestamp,
            }
            self.sent_log.write(f"{json.dumps(line)}\n")
