# SPDX-License-Identifier: AGPL-3.0-or-later
"""One box whose cameras are played: `python -m benchmarks.real_fleet.played_box NAME PUBLIC_KEY DATABASE SERVER...`.

Its protocol, its link to the store, its records in `records/` and its shipper are the product's. A camera takes 0.5 to
2 s until it is inspected, as in `benchmarks.plant_simulation`, and is inspected from then on.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from tests.fakes.desk_records import BEGAN_UTC, DeskRecords, writing

from vision_line.central.database_url import parsed
from vision_line.config.central_settings import CentralSettings
from vision_line.errors import ConfigError
from vision_line.fleet.coordination import CONFIG, Coordination, CoordinationError
from vision_line.fleet.fleet_link import FleetLink
from vision_line.fleet.fleet_member import FleetMember
from vision_line.fleet.fleet_plan import FleetPlan
from vision_line.fleet.nats_coordination import NatsCoordination
from vision_line.fleet.node_report import CameraReport, NodeReport
from vision_line.fleet.plant_cameras import fleet_cameras
from vision_line.frames import CameraState
from vision_line.ingest.camera import OPENING_HELD_S
from vision_line.inspection.coverage.causes import Absence
from vision_line.records.schema import transaction
from vision_line.records.seal import load_public_key
from vision_line.runtime.camera_manager import OPENING_AT_ONCE
from vision_line.runtime.fleet_follower import read_plant
from vision_line.shipping.shipping_service import ShippingService

#: How long it takes until a camera that is opened is inspected: drawn evenly.
CONNECT_S = (0.5, 2.0)
ALIVE_EVERY_S = 1.0
#: A tenth more cameras than a box has to bear when two of ten are lost, and more pixels than they send.
INSPECTIONS_MHZ, PIXELS_S = 450_000, 10**13
PLANT, RECORDS = Path("plant.toml"), Path("records")


@dataclass(slots=True)
class _Opened:
    """A camera that the box has open."""

    epoch: int
    since_utc: float
    coming: asyncio.Task[None] | None = None
    inspected: bool = False


class PlayedBox:
    """Opens and closes cameras as the plan says, and records that."""

    def __init__(self, name: str, key: str, value: bytes, store: Coordination, rows: DeskRecords) -> None:
        """Begin a run under the signed plant `value`."""
        self.member = FleetMember(name, uuid.uuid4().hex)
        self.link = FleetLink(self.member, store, self._report, self._obey, self._configure)
        self._key = key
        self._value = b""
        self._rows = rows
        self._cameras: dict[str, _Opened] = {}
        self._opening = asyncio.Semaphore(OPENING_AT_ONCE)
        self._configure(value)
        now_s, fleet = time.time() - BEGAN_UTC, read_plant(value, key, PLANT, {})[0].fleet
        self._run = rows.run(now_s, None, alive_s=now_s, of_fleet=(name, fleet))
        self._change("UPDATE runs SET run_id = ? WHERE run = ?", f"{name} {now_s}", self._run)

    async def give_signs_of_life(self) -> None:
        """Account for the cameras until now, again and again."""
        while True:
            self._change("UPDATE runs SET alive_utc = ? WHERE run = ?", time.time(), self._run)
            await asyncio.sleep(ALIVE_EVERY_S)

    def _configure(self, value: bytes) -> None:
        if value == self._value:
            return
        signed, plant = read_plant(value, self._key, PLANT, {})
        self._value = value
        self.member.configure(fleet_cameras(plant), signed.serial)
        self.link.keep(value)

    def _obey(self, plan: FleetPlan) -> None:
        wanted = {name: one.epoch_for(self.member.name) or 0 for name, one in plan.of_node(self.member.name)}
        for name in sorted(self._cameras.keys() - wanted.keys()):
            self._close(name)
        for name, epoch in sorted(wanted.items()):
            if name not in self._cameras:
                self._open(name, epoch, plan)
            self._cameras[name].epoch = epoch

    def _open(self, name: str, epoch: int, plan: FleetPlan) -> None:
        now_s, lost_s = time.monotonic(), self.member.last_inspected_s(name)
        cause = plan.cameras[name].cause
        absence = Absence(time.time() - (now_s - lost_s), cause) if cause and lost_s is not None else None
        since_s = time.time() - BEGAN_UTC
        opened = self._cameras[name] = _Opened(epoch, BEGAN_UTC + since_s)
        self._rows.camera(self._run, name, since_s, epoch=epoch)
        opened.coming = asyncio.create_task(self._comes(name, opened, absence), name=f"{name} comes")

    async def _comes(self, name: str, opened: _Opened, absence: Absence | None) -> None:
        connect_s = random.uniform(*CONNECT_S)
        async with self._opening:
            await asyncio.sleep(min(connect_s, OPENING_HELD_S))
        await asyncio.sleep(max(0.0, connect_s - OPENING_HELD_S))
        now_utc = time.time()
        self._change(
            "UPDATE cameras SET inspected_utc = ? WHERE run = ? AND name = ? AND since_utc = ?",
            *(now_utc, self._run, name, opened.since_utc),
        )
        if absence is not None:
            self._rows.gap(self._run, name, absence.cause, absence.since_s - BEGAN_UTC, now_utc - BEGAN_UTC)
        opened.inspected = True

    def _close(self, name: str) -> None:
        opened = self._cameras.pop(name)
        if opened.coming is not None:
            opened.coming.cancel()
        self._rows.state(self._run, name, CameraState.REMOVED, time.time() - BEGAN_UTC)

    def _report(self) -> NodeReport:
        cameras = {name: CameraReport(epoch=one.epoch, inspected=one.inspected) for name, one in self._cameras.items()}
        return NodeReport(version="played", inspections_mhz=INSPECTIONS_MHZ, pixels_s=PIXELS_S, cameras=cameras)

    def _change(self, sql: str, *values: object) -> None:
        with transaction(self._rows.connection):
            self._rows.connection.execute(sql, values)


async def first_value(store: Coordination) -> bytes:
    """Return the plant, once there is one."""
    while True:
        with suppress(CoordinationError):
            if (entry := await store.get(CONFIG)) is not None:
                return entry.value
        await asyncio.sleep(0.2)


async def play(name: str, key: str, database: str, servers: Sequence[str]) -> None:
    """Be a box until killed."""
    store = NatsCoordination(servers, name)
    value = await first_value(store)
    with writing(RECORDS) as rows:
        rows.connection.execute("PRAGMA synchronous=OFF")
        box = PlayedBox(name, key, value, store, rows)
        settings = CentralSettings(database=SecretStr(database), node=name)
        service = ShippingService(RECORDS, settings, parsed(database))
        await asyncio.gather(box.link.run(), box.give_signs_of_life(), service.run())


if __name__ == "__main__":
    RECORDS.mkdir(exist_ok=True)
    try:
        asyncio.run(play(sys.argv[1], load_public_key(Path(sys.argv[2])), sys.argv[3], sys.argv[4:]))
    except ConfigError as exc:
        sys.exit(str(exc))
