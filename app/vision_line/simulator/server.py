# SPDX-License-Identifier: AGPL-3.0-or-later
"""The process that serves the cameras: `python -m vision_line.simulator.server`, told what to do on stdin.

The first line of stdin is a JSON object (see `ServerConfig`). The process answers on stdout with one JSON
line, `{"port": N}` or `{"error": "..."}`, and ends when stdin closes: it cannot outlive its parent.
"""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import socket
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from vision_line.errors import RunError
from vision_line.simulator.broadcast import VirtualCamera
from vision_line.simulator.rtp_stream import read_stream
from vision_line.simulator.rtsp_server import RtspSession, UdpPorts

_START_DELAY_S = 0.1


@dataclass(frozen=True, slots=True)
class ClipOrder:
    """One camera to serve."""

    camera: str
    clip_id: int
    fps: int
    video: str


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """What to serve where; `port` 0 lets the system choose, `sent_log` is a path or None."""

    host: str
    port: int
    clips: tuple[ClipOrder, ...]
    sent_log: str | None

    def to_json(self) -> str:
        """Write the order as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> ServerConfig:
        """Read `to_json`'s line."""
        fields = json.loads(line)
        clips = tuple(ClipOrder(**clip) for clip in fields.pop("clips"))
        return cls(clips=clips, **fields)


async def serve(order: ServerConfig) -> None:
    """Serve until stdin closes.

    Raises:
        RunError: a clip cannot be read or is not H.264.
        OSError: the port or the log cannot be opened.
    """
    loop = asyncio.get_running_loop()
    with ExitStack() as files:
        cameras = _open_cameras(order, files)
        ports = await _open_udp_ports(order.host)

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await RtspSession(cameras, ports, reader, writer).run()

        server = await asyncio.start_server(converse, order.host, order.port)
        start_s = loop.time() + _START_DELAY_S
        # Cameras are not in step with each other: their frames are spread over one period.
        steps = [camera.run(start_s + i / (camera.fps * len(cameras))) for i, camera in enumerate(cameras.values())]
        running = asyncio.gather(*steps)
        sys.stdout.write(f"{json.dumps({'port': server.sockets[0].getsockname()[1]})}\n")
        sys.stdout.flush()
        closed = asyncio.create_task(_parent_gone())
        try:
            await asyncio.wait((running, closed), return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            running.cancel()
            closed.cancel()
            server.close()
            ports.rtp.close()
            ports.rtcp.close()


def _open_cameras(order: ServerConfig, files: ExitStack) -> dict[str, VirtualCamera]:
    log: TextIO | None = None
    if order.sent_log is not None:
        file = Path(order.sent_log).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115  the stack closes it
        log = files.enter_context(file)
    return {clip.camera: _open_camera(clip, log) for clip in order.clips}


def _open_camera(clip: ClipOrder, log: TextIO | None) -> VirtualCamera:
    try:
        stream = read_stream(Path(clip.video).read_bytes())
    except OSError as error:
        raise RunError(f"simulator: {clip.camera}: {clip.video} cannot be read: {error.strerror}") from error
    return VirtualCamera(
        name=clip.camera,
        clip_id=clip.clip_id,
        fps=clip.fps,
        stream=stream,
        ssrc=secrets.randbits(32),
        timestamp_base=secrets.randbits(32),
        sent_log=log,
    )


async def _open_udp_ports(host: str) -> UdpPorts:
    """Bind an even port and the odd one after it (RFC 3550, 11)."""
    loop = asyncio.get_running_loop()
    for _ in range(50):
        rtp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(host, 0))
        port = int(rtp.get_extra_info("sockname")[1])
        try:
            if port % 2 == 0:
                rtcp, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(host, port + 1))
                rtp.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                return UdpPorts(rtp, rtcp, port)
        except OSError:
            # The neighbour is taken: the next pair is tried.
            pass
        rtp.close()
    raise RunError(f"simulator: no free pair of UDP ports on {host}")


async def _parent_gone() -> None:
    """Wait for the end of stdin."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        transport.close()


def main() -> int:
    """Read the order, serve, and tell the parent what went wrong; 0 when the parent closed stdin."""
    order = ServerConfig.from_json(io.FileIO(sys.stdin.fileno(), closefd=False).readline().decode())
    try:
        asyncio.run(serve(order))
    except (RunError, OSError) as error:
        sys.stdout.write(f"{json.dumps({'error': str(error)})}\n")
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
