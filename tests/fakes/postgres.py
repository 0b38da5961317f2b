# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real PostgreSQL server on a port of loopback, of the newest version that is installed; it may be killed."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
import pytest
from tests.fakes.ports import free_port

from vision_line.central.schema_steps import bring_up_to_date

_DEBIAN = Path("/usr/lib/postgresql")
_START_S = 60.0


def programs() -> Path | None:
    """Return the folder of initdb and postgres, None where they are not installed."""
    folders = sorted(_DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which("initdb")
    folders += [] if found is None else [Path(found).resolve().parent]
    return next((folder for folder in folders if (folder / "postgres").is_file()), None)


def unprivileged() -> str | None:
    """Return as whom the server runs: it refuses to be root. None: as who this is."""
    return "postgres" if os.getuid() == 0 else None


@dataclass
class PostgresServer:
    """A server with its files in `folder`. `syncs`: what was committed outlives the power, and it is slow."""

    bin: Path
    folder: Path
    syncs: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _template: str = ""

    def make(self) -> None:
        """Make its files."""
        sync = [] if self.syncs else ["--no-sync"]
        # No password is asked of who comes by loopback, and the alphabet's order is none of a country.
        order = ["--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust", "--username=postgres"]
        subprocess.run(
            [self.bin / "initdb", "-D", self.folder / "data", *order, *sync],
            check=True,
            capture_output=True,
            user=unprivileged(),
            cwd="/",
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        own = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "on" if self.syncs else "off",
            "max_connections": 40,
            "shared_buffers": "64MB",
        }
        options = [word for name, value in own.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.folder / "data", *options],
                stdout=log,
                stderr=log,
                user=unprivileged(),
                cwd="/",
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:]) from None
                time.sleep(0.05)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT in order, SIGQUIT as after a power cut of the machine."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def kill(self) -> None:
        """Kill it with all its processes."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self.process.wait(60)
        self.process = None
        while any(Path(f"/proc/{child}/stat").exists() and not _is_zombie(child) for child in children):
            time.sleep(0.01)

    def url(self, database: str) -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, like: str = "template1") -> str:
        """Make a database that is empty, or like another one, and return its URL."""
        name = f"plant{next(self._numbers)}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}".encode())
        return self.url(name)

    def new_plant(self) -> str:
        """Make a database with empty central tables, and return its URL: a copy of one that is made once."""
        if not self._template:
            url = self.new_database()
            with psycopg.connect(url, autocommit=True) as connection:
                bring_up_to_date(connection, is_new=True)
            self._template = url.rpartition("/")[2]
        return self.new_database(self._template)


def _is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@contextmanager
def running_postgres(*, syncs: bool = False) -> Iterator[PostgresServer]:
    """Yield a running server with files of its own; a test that uses it is skipped where it is not installed."""
    folder_of_programs = programs()
    if folder_of_programs is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="vision-line-postgres-"))
    try:
        shutil.chown(folder, unprivileged() or getpass.getuser())
        server = PostgresServer(folder_of_programs, folder, syncs)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder)
