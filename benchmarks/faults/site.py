# SPDX-License-Identifier: AGPL-3.0-or-later
"""The place where it happens: hosts for the line and its cameras, real servers on them, and the links between.

With the rights for it each host is a network namespace, joined to the line's by a virtual cable that can be pulled,
made narrow or made lossy; the machine's own network is not touched. Without them all hosts are the loopback interface.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.fakes.rtsp.raw_server import PASSWORD, USER, RawCamera, RawServer

SERVER = Path(__file__).parent.parent / "gst_file_server.py"
CAMERA_PORT = 8554


@dataclass(slots=True)
class Host:
    """One host: where it listens, and what stands before a command that runs on it."""

    name: str
    address: str
    prefix: tuple[str, ...] = ()
    port: int = CAMERA_PORT
    cable: str = ""  # its end of the cable to the line; empty on the loopback interface


class Camera(Protocol):
    """A camera's server."""

    @property
    def urls(self) -> list[str]:
        """The URLs of what it serves, once it was started."""

    def start(self) -> None:
        """Start it and wait until it listens."""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""

    def kill(self) -> None:
        """Kill it; its connections are reset."""


@dataclass(slots=True)
class Servers:
    """A camera server on a host, that can be killed and started again at the same address."""

    host: Host
    videos: Sequence[Path]
    process: subprocess.Popen[str] | None = None

    @property
    def urls(self) -> list[str]:
        """The cameras' URLs."""
        return [f"rtsp://{self.host.address}:{self.host.port}/cam{n}" for n in range(1, len(self.videos) + 1)]

    def start(self) -> None:
        """Start the server and wait until it listens."""
        at = f"{self.host.address}:{self.host.port}"
        command = ["/usr/bin/python3", str(SERVER), "--own", at, *map(str, self.videos)]
        self.process = subprocess.Popen(
            [*self.host.prefix, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self.process.stdout is None or self.process.stdout.readline() != "up\n":
            raise RuntimeError("GStreamer's RTSP server did not start: gir1.2-gst-rtsp-server-1.0 is needed")

    def signal(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """Kill the server; its connections are reset."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


class RawServers:
    """A camera that misbehaves from the start, on the loopback interface; it does nothing else on demand."""

    def __init__(self, camera: RawCamera) -> None:
        """Take the camera with its faults."""
        self._camera = camera
        self._server: RawServer | None = None

    @property
    def urls(self) -> list[str]:
        """The camera's URL, once it was started."""
        credentials = f"{USER}:{PASSWORD}@" if self._camera.auth else ""
        return [] if self._server is None else [self._server.url("cam1", credentials)]

    def start(self) -> None:
        """Start serving."""
        self._server = RawServer({"cam1": self._camera})

    def signal(self, number: signal.Signals) -> None:
        """Refuse: it lives in this process."""
        raise NotImplementedError(number)

    def kill(self) -> None:
        """End it."""
        if self._server is not None:
            self._server.close()
            self._server = None


@dataclass(slots=True)
class Site:
    """The line's host, the host of the camera that suffers, and the host of the others."""

    line: Host
    victim: Host
    others: Host
    spare: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def pull_cable(self) -> None:
        """Take the cable out: nothing goes through, and nobody is told."""
        _run(*self.victim.prefix, "ip", "link", "set", self.victim.cable, "down")

    def plug_cable(self) -> None:
        """Put the cable back in."""
        _run(*self.victim.prefix, "ip", "link", "set", self.victim.cable, "up")

    def lose(self, percent: int) -> None:
        """Throw `percent` of what reaches the victim's host away, and as many of what reaches the line from it."""
        for host, source in ((self.victim, ""), (self.line, f"ip saddr {self.victim.address} ")):
            chain = "add table ip f; add chain ip f c { type filter hook input priority 0; };"
            _run(*host.prefix, "nft", f"{chain} add rule ip f c {source}numgen random mod 100 < {percent} drop")

    def lose_nothing(self) -> None:
        """End `lose`."""
        for host in (self.victim, self.line):
            _run(*host.prefix, "nft", "delete table ip f")

    def narrow(self, kbit: int) -> None:
        """Let no more than `kbit` thousand bits a second out of the victim's host; the queue holds two seconds."""
        cable = self.victim.cable
        _run(
            *self.victim.prefix, *("tc", "qdisc", "add", "dev", cable, "root", "tbf", "rate", f"{kbit}kbit"),
            *("burst", "16kb", "latency", "2s"),
        )  # fmt: skip

    def widen(self) -> None:
        """End `narrow`."""
        _run(*self.victim.prefix, "tc", "qdisc", "del", "dev", self.victim.cable, "root")

    def load_cores(self) -> None:
        """Keep every core busy, twice over."""
        count = 2 * len(os.sched_getaffinity(0))
        self.spare = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]

    def free_cores(self) -> None:
        """End `load_cores`."""
        for process in self.spare:
            process.kill()
            process.wait()
        self.spare = []


def can_make_networks() -> bool:
    """Whether this process may make network namespaces, and has the tools to filter and narrow in them."""
    if None in map(shutil.which, ("ip", "nft", "tc")):
        return False
    name = f"vlf-try-{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return False
    tried = subprocess.run(["ip", "netns", "exec", name, "nft", "list", "tables"], capture_output=True, check=False)
    subprocess.run(["ip", "netns", "del", name], check=True)
    return tried.returncode == 0


@contextmanager
def open_site(*, networks: bool) -> Iterator[Site]:
    """Make the hosts, and take them down at the end."""
    if not networks:
        line, victim, others = (Host(name, "127.0.0.1", port=_free_port()) for name in ("line", "victim", "others"))
        yield Site(line, victim, others)
        return
    with ExitStack() as stack:
        line = _namespace(stack, "line")
        victim, others = (_cabled(stack, line, name, number) for number, name in enumerate(("victim", "others"), 1))
        site = Site(line, victim, others)
        stack.callback(site.free_cores)
        yield site


def _namespace(stack: ExitStack, name: str) -> Host:
    space = f"vlf-{name}-{os.getpid()}"
    _run("ip", "netns", "add", space)
    stack.callback(subprocess.run, ["ip", "netns", "del", space], check=False)
    prefix = ("ip", "netns", "exec", space)
    _run(*prefix, "ip", "link", "set", "lo", "up")
    return Host(name, "", prefix)


def _cabled(stack: ExitStack, line: Host, name: str, number: int) -> Host:
    """Make a host and the cable between it and the line."""
    host = _namespace(stack, name)
    near, host.cable = f"line{number}", f"cam{number}"
    space = host.prefix[-1]
    _run(*line.prefix, "ip", "link", "add", near, "type", "veth", "peer", "name", host.cable, "netns", space)
    for owner, device, last in ((line, near, 1), (host, host.cable, 2)):
        _run(*owner.prefix, "ip", "address", "add", f"10.203.{number}.{last}/24", "dev", device)
        _run(*owner.prefix, "ip", "link", "set", device, "up")
    host.address = f"10.203.{number}.2"
    return host


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
