# SPDX-License-Identifier: AGPL-3.0-or-later
"""The plant: real nodes on three real NATS servers and real RTSP cameras, each a process that may be killed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.fakes.nats_servers import NatsServers, running_nats
from tests.fakes.ports import free_port

from benchmarks.contenders import COMMAND
from benchmarks.faults.relay import Relay
from benchmarks.faults.waiting import wait_until
from vision_line.fleet.coordination import CoordinationError
from vision_line.fleet.fleet_view import FleetView, watched_fleet
from vision_line.fleet.nats_coordination import NatsCoordination
from vision_line.simulator.clips import ensure_clips
from vision_line.simulator.live import Simulator

START_S = 180.0
#: Rare inspections, so that the machine is not what is measured; no camera may be without one for two seconds.
DEFAULTS = "dwell_s = 4.0\nmin_hits = 2\ninspect_fps = 3.0\n"
CAPACITY = '{"inspections_per_s": 1000, "mpixels_per_s": 1000}'


class ChaosPlant:
    """Some boxes that share some cameras; `only` says which cameras one box alone can reach."""

    def __init__(self, folder: Path, servers: NatsServers, nodes: int, cameras: int, only: Mapping[str, str]) -> None:
        self.folder = folder
        self.servers = servers
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.cameras = [f"cam{number:02d}" for number in range(1, cameras + 1)]
        self.only = dict(only)
        self.relays: dict[str, list[Relay]] = {}  # between a box and the store
        self._port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._simulator: Simulator | None = None

    def start(self, *parted: str) -> None:
        """Start everything, and wait until every camera is inspected; `parted` boxes have relays to the store."""
        self._simulator = Simulator(ensure_clips(len(self.cameras), 1), self._port)
        self.prepare()
        for name in parted:
            self.relays[name] = [Relay(("127.0.0.1", port)) for port in self.servers.ports]
        for name in self.nodes:
            self.start_node(name)
        self.until_inspected()

    def prepare(self) -> None:
        """Make the operator's key, and bring the plant in force."""
        key = Ed25519PrivateKey.generate()
        self._write("operator.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._write("operator.pub", public)
        self._write("capacity.json", CAPACITY.encode())
        self.apply()

    def apply(self) -> None:
        """Bring the plant in force."""
        text = f'config_version = 1\n[fleet]\ncamera_networks = ["127.0.0.0/8"]\n[defaults]\n{DEFAULTS}'
        for name in self.cameras:
            text += f'[[stream]]\nname = "{name}"\nurl = "rtsp://127.0.0.1:{self._port}/{name}"\n'
            if name in self.only:
                text += f'reachable_from = ["{self.only[name]}"]\n'
        self._write("plant.toml", text.encode())
        self.operator("apply", "plant.toml", "--key", "operator.pem")

    def operator(self, *words: str) -> str:
        """Run a command of the operator, and return what it prints.

        Raises:
            RuntimeError: it failed.
        """
        command: list[str | Path] = [COMMAND, "fleet", *words, *self._store(self.servers.ports)]
        done = subprocess.run(command, cwd=self.folder, text=True, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"fleet {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def start_node(self, name: str, *before: str, program: str | Path = COMMAND) -> None:
        """Start a box's program, or another `program` of its kind, with words `before` it."""
        relays = self.relays.get(name)
        ports = [relay.port for relay in relays] if relays else self.servers.ports
        options = ["--node", name, "--headless", "--key", "../operator.pub", "--capacity", "../capacity.json"]
        command = [*before, program, "node", *options, *self._store(ports)]
        self._processes[name] = self._process(command, self.folder / name)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a box's program a signal."""
        self._processes[name].send_signal(number)

    def kill(self, name: str) -> float:
        """End a box as a power cut does; return when, in UTC."""
        at_utc = time.time()
        self._processes[name].kill()
        self._processes[name].wait()
        return at_utc

    def bring_back(self, name: str, *before: str, program: str | Path = COMMAND) -> None:
        """Start a box that is not there, as `start_node` does, and wait until the others know that it is."""
        self.start_node(name, *before, program=program)
        self.until_back(name)

    def until_back(self, name: str) -> None:
        """Wait until the others know that a box is there."""
        wait_until(lambda: name in self.view().nodes(), START_S, f"{name} does not come back")

    def put(self, key: str, value: bytes) -> None:
        """Write a value into the store, as nobody should."""

        async def done() -> None:
            store = NatsCoordination(self.servers.urls, "chaos")
            try:
                await store.put(key, value)
            finally:
                await store.close()

        asyncio.run(done())

    def view(self) -> FleetView:
        """Return the fleet as it is seen for a moment; nobody is in it while the store is away."""

        async def seen() -> FleetView:
            store = NatsCoordination(self.servers.urls, "chaos")
            try:
                return await watched_fleet(store)
            except CoordinationError:
                return FleetView()
            finally:
                await store.close()

        return asyncio.run(seen())

    def owners(self) -> dict[str, str]:
        """Return by camera the box that inspects it now, as the boxes say; of two the one of the later epoch."""
        found: dict[str, tuple[int, str]] = {}
        for name, report in self.view().reports.items():
            for camera, one in report.cameras.items():
                if one.inspected:
                    found[camera] = max(found.get(camera, (0, "")), (one.epoch, name))
        return {camera: name for camera, (_, name) in found.items()}

    def until_inspected(self, cameras: Sequence[str] = ()) -> dict[str, str]:
        """Wait until these cameras are inspected, all of them where none is named; return by which box.

        Raises:
            TooSlowError: they are not.
        """
        found: dict[str, str] = {}

        def are() -> bool:
            if self._simulator is not None and (fault := self._simulator.fault()) is not None:
                raise RuntimeError(f"the cameras ended: {fault}")
            found.clear()
            found.update(self.owners())
            return found.keys() >= set(cameras or self.cameras)

        wait_until(are, START_S, "not every camera is inspected")
        return found

    def check_alive(self) -> None:
        """Go on only while every box runs.

        Raises:
            RuntimeError: one has ended.
        """
        for name, process in self._processes.items():
            if (code := process.poll()) is not None:
                raise RuntimeError(f"{name} ended with {code}: {self.said(name)[-300:].strip()}")

    def said(self, name: str) -> str:
        """Return what a box's program has printed."""
        return (self.folder / name / "output.txt").read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """Leave no process behind."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        if self._simulator is not None:
            self._simulator.close()
        for relays in self.relays.values():
            for relay in relays:
                relay.close()

    def _store(self, ports: Sequence[int]) -> list[str]:
        return [word for port in ports for word in ("--fleet", f"nats://127.0.0.1:{port}")]

    def _write(self, name: str, content: bytes) -> None:
        (self.folder / name).write_bytes(content)

    def _process(self, command: Sequence[str | Path], folder: Path) -> subprocess.Popen[bytes]:
        folder.mkdir(exist_ok=True)
        with (folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )


@contextmanager
def running_plant(
    folder: Path, nodes: int, cameras: int, only: Mapping[str, str], parted: Sequence[str] = ()
) -> Iterator[ChaosPlant]:
    """Yield a plant whose cameras are all inspected."""
    with running_nats(folder) as servers:
        servers.until_healthy()
        plant = ChaosPlant(folder, servers, nodes, cameras, only)
        try:
            plant.start(*parted)
            yield plant
        finally:
            plant.close()
