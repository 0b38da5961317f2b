# SPDX-License-Identifier: AGPL-3.0-or-later
"""RTSP cameras from GStreamer's own server, for tests: run by the system's Python in a process of its own.

    /usr/bin/python3 gst_server.py '{"port": 8600, "cameras": [{"path": "cam", "codec": "h264"}]}'

Each frame carries its frame number as 24 black or white blocks in its first 16 rows, over noise that moves. One
line of JSON goes to standard output for every frame sent: path, number, and the monotonic time at which the encoded
frame entered the payloader (CLOCK_MONOTONIC is one clock for all processes of a machine). Lines read from standard
input change a camera while it runs: `freeze PATH`, `thaw PATH`, `pause PATH`, `resume PATH`. End of input ends it.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402  versions must be required first

STAMP_BITS = 24
STAMP_ROWS = 16
ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast pass=quant quantizer=32 key-int-max={gop} "
    "sliced-threads={sliced} threads={threads} ! rtph264pay name=pay0 pt=96 config-interval={config}",
    # In one thread: several wait for each other, and on a busy machine a frame then takes four times as long.
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast qp=32 key-int-max={gop} "
    "option-string=pools=none:frame-threads=1:wpp=0:rc-lookahead=0 "
    "! rtph265pay name=pay0 pt=96 config-interval={config}",
    "mjpeg": "jpegenc quality=80 ! rtpjpegpay name=pay0 pt=26",
}


class StampedCamera:
    """Draws, stamps and pushes the frames of one path at its own pace."""

    def __init__(self, options: dict[str, Any]) -> None:
        """Take the camera's options: path, codec, fps, width, height, gop, slices, config_interval."""
        self.path = options["path"]
        self.codec = options.get("codec", "h264")
        self.fps = options.get("fps", 25)
        self.width: int = options.get("width", 320)
        self.height: int = options.get("height", 240)
        self.gop = options.get("gop", max(1, int(self.fps)))
        self.slices = options.get("slices", 1)
        self.config_interval = options.get("config_interval", -1)
        self.number = 0
        self.frozen = False
        self.paused = False
        noise = random.Random(self.path)
        self._noise: bytes = bytes(noise.randrange(60, 190) for _ in range(self.width * (self.height + 512)))

    def launch_line(self) -> str:
        """Return the pipeline in gst-launch syntax."""
        encoder = ENCODERS[self.codec].format(
            gop=self.gop, sliced=str(self.slices > 1).lower(), threads=self.slices, config=self.config_interval
        )
        caps = f"video/x-raw,format=I420,width={self.width},height={self.height},framerate={int(self.fps)}/1"
        return f"( appsrc name=source is-live=true format=time caps={caps} ! {encoder} )"

    def configure(self, _factory: Any, media: Any) -> None:
        """Start pushing frames into a media that a client has asked for."""
        element = media.get_element()
        payloader = element.get_by_name_recurse_up("pay0") or element.get_by_name("pay0")
        feed = Feed(self, element.get_by_name("source"))
        payloader.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, feed.log_sent)
        media.connect("unprepared", lambda _media: feed.stop())
        GLib.timeout_add(max(1, int(1000 / self.fps)), feed.push)

    def frame(self, number: int) -> bytes:
        """Return the I420 bytes of frame `number`."""
        block = self.width // STAMP_BITS
        bits = b"".join((b"\xeb" if number >> bit & 1 else b"\x10") * block for bit in range(STAMP_BITS))
        row: bytes = bits.ljust(self.width, b"\x10")
        start = (number * 3 % 512) * self.width
        luma: bytes = self._noise[start : start + self.width * (self.height - STAMP_ROWS)]
        chroma: bytes = b"\x80" * (self.width * self.height // 2)
        return row * STAMP_ROWS + luma + chroma


class Feed:
    """Pushes a camera's frames into one appsrc, from the server's main loop, until the media is gone."""

    def __init__(self, camera: StampedCamera, source: Any) -> None:
        """Feed `source` with the frames of `camera`."""
        self._camera = camera
        self._source = source
        self._began_s = 0.0
        self._sent = 0
        self._shown = 0
        self._encoded = 0
        self._running = True

    def stop(self) -> None:
        """Push no more."""
        self._running = False

    def push(self) -> bool:
        """Push the next frame; False ends the timer."""
        if not self._running:
            return False
        if self._camera.paused:
            return True
        if not self._camera.frozen:
            self._shown = self._sent
        now_s = time.monotonic()
        self._began_s = self._began_s or now_s
        data = Gst.Buffer.new_wrapped(self._camera.frame(self._shown))
        # As a camera's clock tells it: the timer is late on a busy machine, and its delays add up.
        data.pts = data.dts = int((now_s - self._began_s) * Gst.SECOND)
        data.duration = int(Gst.SECOND / self._camera.fps)
        self._sent += 1
        return bool(self._source.emit("push-buffer", data) == Gst.FlowReturn.OK)

    def log_sent(self, _pad: Any, _info: Any) -> Any:
        """Log that the next encoded frame enters the payloader (the encoders keep order and hold none back)."""
        entry = {"path": self._camera.path, "number": self._encoded, "sent_s": time.monotonic()}
        self._encoded += 1
        sys.stdout.write(json.dumps(entry) + "\n")
        sys.stdout.flush()
        return Gst.PadProbeReturn.OK


def _protect(server: Any, factories: list[Any], auth: dict[str, str]) -> None:
    """Ask for a user and password on every path, by the basic or the digest method."""
    guard = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if auth["method"] == "digest":
        guard.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        guard.add_digest(auth["user"], auth["password"], token)
    else:
        guard.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        guard.add_basic(GstRtspServer.RTSPAuth.make_basic(auth["user"], auth["password"]), token)
    server.set_auth(guard)
    for factory in factories:
        factory.add_role_from_structure(_role())


def _role() -> Any:
    permissions, _ = Gst.Structure.from_string("user,media.factory.access=true,media.factory.construct=true")
    return permissions


def _obey(cameras: dict[str, StampedCamera], loop: Any) -> Callable[[Any, Any], bool]:
    """Return the watcher of standard input."""

    def read(stream: Any, _condition: Any) -> bool:
        line = stream.readline()
        if not line:
            loop.quit()
            return False
        verb, path = line.split()
        camera = cameras[path]
        if verb in ("freeze", "thaw"):
            camera.frozen = verb == "freeze"
        elif verb in ("pause", "resume"):
            camera.paused = verb == "pause"
        return True

    return read


def main() -> None:
    """Serve until standard input ends."""
    options = json.loads(sys.argv[1])
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options["port"]))
    cameras = {camera.path: camera for camera in map(StampedCamera, options["cameras"])}
    factories = []
    for camera in cameras.values():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(camera.launch_line())
        factory.set_shared(True)
        factory.set_latency(0)
        factory.connect("media-configure", camera.configure)
        server.get_mount_points().add_factory(f"/{camera.path}", factory)
        factories.append(factory)
    if "auth" in options:
        _protect(server, factories, options["auth"])
    if not server.attach(None):
        sys.exit(f"port {options['port']} is taken")
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, _obey(cameras, loop))
    sys.stdout.write(json.dumps({"ready": options["port"]}) + "\n")
    sys.stdout.flush()
    loop.run()


if __name__ == "__main__":
    main()
