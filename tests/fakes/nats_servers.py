# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real NATS servers on loopback that know each other; each may be killed, and started without its disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

from tests.fakes.ports import free_port

PROGRAM = Path(sys.executable).parent / "nats-server"


class NatsServers:
    """Some `nats-server` processes in one cluster."""

    def __init__(self, folder: Path, count: int = 3, more: str = "") -> None:
        """`more` is what else stands in each server's configuration."""
        self.folder = folder
        self._more = more
        self.ports = [free_port() for _ in range(count)]
        self._monitor_ports = [free_port() for _ in range(count)]
        self._cluster_ports = [free_port() for _ in range(count)]
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * count

    @property
    def urls(self) -> list[str]:
        """Where clients connect."""
        return [f"nats://127.0.0.1:{port}" for port in self.ports]

    def start(self, index: int) -> None:
        """Start one, and wait until it answers."""
        store = self.folder / f"store{index}"
        routes = ", ".join(
            f'"nats://127.0.0.1:{port}"' for other, port in enumerate(self._cluster_ports) if other != index
        )
        address = f"127.0.0.1:{self._cluster_ports[index]}"
        # Clients keep to the addresses that they were told: a test may stand between.
        cluster = f'cluster {{ name: plant, listen: "{address}", no_advertise: true, routes: [{routes}] }}\n'
        text = (
            f"server_name: s{index}\n"
            f'listen: "127.0.0.1:{self.ports[index]}"\n'
            f'http: "127.0.0.1:{self._monitor_ports[index]}"\n'
            f'jetstream {{ store_dir: "{store}", max_mem: 64MB, max_file: 64MB, sync_interval: always }}\n'
            f"{cluster if len(self.ports) > 1 else ''}{self._more}"
        )
        path = self.folder / f"server{index}.conf"
        path.write_text(text, encoding="utf-8")
        log = (self.folder / f"server{index}.log").open("ab")
        with log:
            self.processes[index] = subprocess.Popen([PROGRAM, "-c", path], stdout=log, stderr=log)
        deadline_s = time.monotonic() + 40
        while not self._answers(index):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)

    def _answers(self, index: int) -> bool:
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", self.ports[index])) == 0

    def until_healthy(self) -> None:
        """Wait until all have caught up: until then the loss of another one is the loss of a majority."""
        deadline_s = time.monotonic() + 40
        for port in self._monitor_ports:
            while not _is_healthy(port):
                assert time.monotonic() < deadline_s
                time.sleep(0.05)

    def kill(self, index: int, *, wiped: bool = False) -> None:
        """End one as a power cut does, perhaps with its disk."""
        process, self.processes[index] = self.processes[index], None
        if process is not None:
            process.kill()
            process.wait()
        if wiped:
            shutil.rmtree(self.folder / f"store{index}", ignore_errors=True)

    def kill_all(self, *, wiped: bool = False) -> None:
        """End all of them."""
        for index in range(len(self.ports)):
            self.kill(index, wiped=wiped)

    def start_all(self) -> None:
        """Start those that do not run."""
        for index, process in enumerate(self.processes):
            if process is None:
                self.start(index)


def _is_healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def running_nats(folder: Path, count: int = 3, more: str = "") -> Iterator[NatsServers]:
    """Yield servers that run, with `more` in their configuration."""
    servers = NatsServers(folder, count, more)
    try:
        servers.start_all()
        yield servers
    finally:
        servers.kill_all()
