# SPDX-License-Identifier: AGPL-3.0-or-later
"""Many RTSP cameras out of one recording, in one process that has little to do: packets are cut beforehand.

    python -m benchmarks.recorded_cameras RECORDING FPS CAMERAS     # /cam1, /cam2, ... over TCP

Each camera plays the recording from another place, in RTP numbers of its own, and their frames are spread over a
period. Prints its port; when its standard input closes it prints, as JSON, what it has sent, and ends.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vision_line.simulator.broadcast import REPORT_EVERY_S, Client, VirtualCamera
from vision_line.simulator.rtp_stream import (
    TimedUnit,
    VideoStream,
    read_stream,
    rtp_packets,
    sender_report,
    timestamp_of,
)
from vision_line.simulator.rtsp_server import RtspSession, TcpClient, UdpPorts

_CHANNEL = 0  # the one that vision-line asks for
_PREFIX_BYTES = 4
_NUMBERS_AT = _PREFIX_BYTES + 2  # behind the RTP header's first two bytes, which stay
_NUMBERS = np.dtype([("sequence", ">u2"), ("timestamp", ">u4"), ("source", ">u4")])


class PreparedFrame:
    """One frame's packets as they go over an RTSP connection, ready but for their numbers."""

    def __init__(self, unit: TimedUnit) -> None:
        """Cut `unit`, and note where each packet's numbers are."""
        packets = rtp_packets(unit, 0, 0, 0)
        prefixed = [struct.pack("!cBH", b"$", _CHANNEL, len(packet)) + packet for packet in packets]
        starts = np.cumsum([0, *map(len, prefixed[:-1])])
        self.idr = unit.idr
        self.packets = len(packets)
        self._bytes = np.frombuffer(b"".join(prefixed), np.uint8).copy()
        self._at = starts[:, None] + np.arange(_NUMBERS_AT, _NUMBERS_AT + _NUMBERS.itemsize)
        self._order = np.arange(self.packets)

    def numbered(self, sequence: int, timestamp: int, source: int) -> bytes:
        """Return the packets with their numbers; the first packet's is `sequence`."""
        numbers = np.empty(self.packets, _NUMBERS)
        numbers["sequence"] = (sequence + self._order) & 0xFFFF
        numbers["timestamp"], numbers["source"] = timestamp, source
        self._bytes[self._at] = numbers.view(np.uint8).reshape(self.packets, -1)
        return self._bytes.tobytes()


@dataclass(slots=True)
class Sent:
    """What all cameras together have sent to clients, frames that a slow client did not take, and the most delay."""

    frames: int = 0
    packets: int = 0
    skipped: int = 0
    most_late_ms: float = 0.0


@dataclass(slots=True)
class Player:
    """One camera, its place in the recording, and its numbers."""

    camera: VirtualCamera
    frames: list[PreparedFrame]
    first: int
    sent: Sent
    reported_s: dict[Client, float] = field(default_factory=dict)

    def show(self, number: int, due_s: float, late_s: float = 0.0) -> None:
        """Send the camera's frame `number`, which was taken at `due_s`, to those who can take it."""
        self.sent.most_late_ms = max(self.sent.most_late_ms, 1e3 * late_s)
        camera, frame = self.camera, self.frames[(self.first + number) % len(self.frames)]
        timestamp = timestamp_of(camera.timestamp_base, number, camera.fps)
        for client, in_step in list(camera.clients.items()):
            takes = (in_step or frame.idr) and not client.is_behind()
            camera.clients[client] = takes
            self.sent.skipped += in_step and not takes
            if takes and isinstance(client, TcpClient):
                client.writer.write(frame.numbered(camera.sequence, timestamp, camera.ssrc))
                self.sent.frames += 1
                self.sent.packets += frame.packets
                self._report(client, timestamp, due_s, time.time() - late_s)
        camera.sequence = (camera.sequence + frame.packets) & 0xFFFF
        camera.packets += frame.packets

    def _report(self, client: Client, timestamp: int, due_s: float, taken_utc: float) -> None:
        if due_s - self.reported_s.get(client, float("-inf")) >= REPORT_EVERY_S:
            self.reported_s[client] = due_s
            camera = self.camera
            client.send_report(sender_report(camera.ssrc, taken_utc, timestamp, camera.packets, camera.octets))


def make_players(stream: VideoStream, fps: int, cameras: int) -> list[Player]:
    """Return the cameras, evenly spread over the recording."""
    frames, sent = [PreparedFrame(unit) for unit in stream.units], Sent()
    return [
        Player(
            VirtualCamera(f"cam{n + 1}", n, fps, stream, ssrc=n + 1, timestamp_base=1000 * n),
            frames,
            n * len(frames) // cameras,
            sent,
        )
        for n in range(cameras)
    ]


async def play(players: list[Player], fps: int) -> None:
    """Send all cameras' frames in time until cancelled."""
    loop = asyncio.get_running_loop()
    started_s, number = loop.time(), 0
    while True:
        for index, player in enumerate(players):
            due_s = started_s + (number + index / len(players)) / fps
            if (wait_s := due_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            now_s = loop.time()
            player.show(number, due_s, late_s=now_s - due_s)
        number += 1
        await asyncio.sleep(0)  # also where every frame is late


async def serve(players: list[Player], fps: int) -> Sent:
    """Serve until standard input closes."""
    loop = asyncio.get_running_loop()
    named = {player.camera.name: player.camera for player in players}
    rtp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    ports = UdpPorts(rtp, rtp, int(rtp.get_extra_info("sockname")[1]))  # nobody is to ask for it

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await RtspSession(named, ports, reader, writer).run()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    playing = asyncio.create_task(play(players, fps))
    print(server.sockets[0].getsockname()[1], flush=True)
    closed = loop.run_in_executor(None, sys.stdin.read)
    await asyncio.wait((playing, closed), return_when=asyncio.FIRST_COMPLETED)
    if playing.done():
        playing.result()
    playing.cancel()
    server.close()
    rtp.close()
    return players[0].sent


def main() -> None:
    """Serve, and say what was sent."""
    recording, fps, cameras = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sent = asyncio.run(serve(make_players(read_stream(recording.read_bytes()), fps, cameras), fps))
    print(json.dumps({name: getattr(sent, name) for name in Sent.__slots__}), flush=True)


if __name__ == "__main__":
    main()
