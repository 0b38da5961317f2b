# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real `vision-line node` processes on real NATS servers and RTSP cameras: one is stopped, one dies."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.e2e.conftest import COMMAND
from tests.fakes.nats_servers import NatsServers, running_nats
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for

from vision_line.errors import ExitCode
from vision_line.fleet.fleet_view import FleetView, watched_fleet
from vision_line.fleet.nats_coordination import NatsCoordination

pytestmark = pytest.mark.e2e

#: Whose `cam01` is, and since when.
OWNED = """SELECT r.node, r.fleet, c.epoch, c.inspected_utc FROM cameras c JOIN runs r ON r.run = c.run
    WHERE c.name = 'cam01' ORDER BY c.since_utc DESC LIMIT 1"""
CAMERAS = ("cam01", "cam02", "cam03")
#: Another address than the one that everything takes where none is named.
CAMERA_HOST = "127.0.0.2"
PLANT = """config_version = 1
[fleet]
camera_networks = ["127.0.0.0/8"]
[defaults]
dwell_s = 4.0
min_hits = 2
inspect_fps = 3.0
"""


class Fleet:
    """Some nodes, each in a folder of its own, and the operator's commands."""

    def __init__(self, folder: Path, servers: NatsServers) -> None:
        self.folder = folder
        self.servers = servers
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        key = Ed25519PrivateKey.generate()
        (folder / "operator.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / "operator.pub").write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        (folder / "capacity.json").write_text('{"inspections_per_s": 1000, "mpixels_per_s": 1000}', encoding="utf-8")

    @property
    def options(self) -> list[str]:
        """Where the store is, as commands are told."""
        return [part for url in self.servers.urls for part in ("--fleet", url)]

    def run(self, *words: str | Path) -> str:
        """Run one of the operator's commands, and return what it prints."""
        done = subprocess.run(
            [COMMAND, "fleet", *words, *self.options], cwd=self.folder, text=True, capture_output=True, check=False
        )
        # A camera may be inspected too rarely for a moment, which `status` says.
        assert done.returncode in {ExitCode.DONE, ExitCode.FAILED if "status" in words else ExitCode.DONE}, done.stderr
        return done.stdout

    def apply(self, port: int, *options: str) -> str:
        """Bring the plant in force."""
        text = PLANT + "".join(
            f'[[stream]]\nname = "{name}"\nurl = "rtsp://{CAMERA_HOST}:{port}/{name}"\n' for name in CAMERAS
        )
        (self.folder / "plant.toml").write_text(text, encoding="utf-8")
        return self.run("apply", "plant.toml", "--key", "operator.pem", *options)

    def start(self, name: str) -> None:
        """Start a node."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        with (folder / "output.txt").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [
                    *(COMMAND, "node", "--node", name, "--headless", "--key", self.folder / "operator.pub"),
                    *("--capacity", self.folder / "capacity.json"),
                    *self.options,
                ],
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def inspected(self) -> dict[str, str]:
        """Return by camera the node that inspects it."""
        return {
            camera: name
            for name, report in asyncio.run(self.seen()).reports.items()
            for camera, one in report.cameras.items()
            if one.inspected
        }

    async def seen(self) -> FleetView:
        """Watch the fleet for a moment."""
        store = NatsCoordination(self.servers.urls, "test")
        try:
            return await watched_fleet(store)
        finally:
            await store.close()

    def until_inspected(self) -> dict[str, str]:
        """Wait until all cameras are."""

        def all_of_them() -> dict[str, str]:
            found = self.inspected()
            return found if set(found) == set(CAMERAS) else {}

        found: dict[str, str] = wait_for(all_of_them, "all cameras inspected", 120.0)
        return found

    def query(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        """Return rows of a node's records."""
        path = self.folder / name / "records" / "records.sqlite"
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(sql).fetchall()

    def close(self) -> None:
        """End what runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A NATS server, and nothing on it."""
    with running_nats(tmp_path, 1) as servers:
        plant = Fleet(tmp_path, servers)
        try:
            yield plant
        finally:
            plant.close()


@pytest.fixture
def camera_port(tmp_path: Path) -> Iterator[int]:
    """Cameras that run for themselves."""
    port = free_port()
    with (tmp_path / "cameras.txt").open("wb") as output:
        process = subprocess.Popen(
            [COMMAND, "simulate", "--cameras", str(len(CAMERAS)), "--listen", CAMERA_HOST, "--port", str(port)],
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(900)
def test_cameras_outlive_their_boxes(fleet: Fleet, camera_port: int) -> None:
    """A node that is stopped for less than a lease keeps them; what a killed one had, the other one inspects."""
    assert "+ cam01" in fleet.apply(camera_port, "--dry-run")
    assert fleet.apply(camera_port).endswith("plant 1 is in the store\n")
    for name in ("a", "b"):
        fleet.start(name)
    before = fleet.until_inspected()

    stopped = fleet.processes[before["cam01"]]
    stopped.send_signal(signal.SIGSTOP)
    time.sleep(1.5)  # less than a lease, however slowly this goes on
    stopped.send_signal(signal.SIGCONT)
    assert fleet.until_inspected() == before

    dead = before["cam01"]
    fleet.processes[dead].kill()
    wait_for(lambda: fleet.inspected().get("cam01") not in (None, dead), "cam01 elsewhere", 120.0)
    after = fleet.until_inspected()
    assert {name: at for name, at in after.items() if before[name] != dead} == {
        name: at for name, at in before.items() if at != dead
    }
    lost = wait_for(
        lambda: fleet.query(
            after["cam01"], "SELECT cause, ended_s - started_s FROM not_inspected WHERE cause = 'node:lost'"
        ),
        "the gap in the heir's records",
    )
    assert lost[0][1] > 3.0  # a lease
    ((node, fleet_name, epoch, inspected_utc),) = fleet.query(after["cam01"], OWNED)
    ((of_dead, of_fleet, epoch_before, _),) = fleet.query(dead, OWNED)
    assert (node, of_dead) == (after["cam01"], dead)
    assert fleet_name == of_fleet != ""
    assert epoch > epoch_before > 0
    assert inspected_utc is not None
    assert "node:lost" in fleet.run("why", "cam01")
    assert "survives the loss of any one box: no" in fleet.run("status")
