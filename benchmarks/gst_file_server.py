# SPDX-License-Identifier: AGPL-3.0-or-later
"""Serves MP4 files as RTSP cameras from GStreamer's server; run by the system's Python.

    /usr/bin/python3 gst_file_server.py [--own] [--starts] [ADDRESS:]PORT FILE [FILE ...]

The files are cam1, cam2, ... and are not encoded anew. With `--own` each client has a run of the video of its own, else
all share one, which halts while another client joins. With `--starts` it prints at its end, for each time that a camera
was connected to, the camera's number and the moment of the monotonic clock, in seconds, from which the video's times
count.
Prints `up` when it listens; ends when its standard input closes.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  versions must be required first


def main() -> None:
    """Serve until standard input closes."""
    Gst.init(None)
    options = {argument for argument in sys.argv[1:] if argument.startswith("--")}
    at, *files = (argument for argument in sys.argv[1:] if argument not in options)
    connected = []
    server = GstRtspServer.RTSPServer()
    address, _, port = at.rpartition(":")
    server.set_address(address or "127.0.0.1")
    server.set_service(port)
    for number, path in enumerate(files, start=1):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(
            f"( filesrc location={path} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )"
        )
        factory.set_shared("--own" not in options)
        if "--starts" in options:
            factory.connect("media-configure", lambda _, media, n: connected.append((n, media.get_element())), number)
        server.get_mount_points().add_factory(f"/cam{number}", factory)
    server.attach(None)
    sys.stdout.write("up\n")
    sys.stdout.flush()
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.IO_HUP, lambda *_: loop.quit())
    loop.run()
    for number, element in connected:
        sys.stdout.write(f"{number} {element.get_base_time() / 1e9}\n")


if __name__ == "__main__":
    main()
