# SPDX-License-Identifier: AGPL-3.0-or-later
"""On a node of a fleet the cameras come from the plan: this takes the place of the follower of `streams.toml`."""

from __future__ import annotations

import asyncio
import logging
import time
import tomllib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vision_line import __version__
from vision_line.config.load import LoadedConfig
from vision_line.config.plant_load import LoadedPlant, checked_plant
from vision_line.config.toml import TomlFile
from vision_line.errors import ConfigError, RunError
from vision_line.fleet.box_capacity import BoxCapacity
from vision_line.fleet.coordination import Coordination
from vision_line.fleet.decoded_pixels import DecodedPixels
from vision_line.fleet.fleet_link import FleetLink
from vision_line.fleet.fleet_member import FleetMember
from vision_line.fleet.fleet_plan import FleetPlan
from vision_line.fleet.fullness import Fullness
from vision_line.fleet.kept_fleet import KeptFleet
from vision_line.fleet.node_report import CameraReport, NodeReport
from vision_line.fleet.plant_cameras import fleet_cameras, least_fps
from vision_line.fleet.signed_plant import SignedPlant, checked_signature
from vision_line.inspection.coverage.causes import Absence
from vision_line.records.lives import Inheritance
from vision_line.runtime.camera_manager import CameraManager
from vision_line.runtime.reload import in_short
from vision_line.telemetry.snapshot import ConfigStatus, FleetStatus, Snapshot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetNodeSetup:
    """What a node is in its fleet; opened and closed by who starts it."""

    store: Coordination
    member: FleetMember
    fleet: str  # names the fleet in the records
    capacity: BoxCapacity  # as it was measured
    report: NodeReport  # what does not change: labels, capacity, address
    public_key: str  # of the operator, in hex
    path: Path  # relative paths of the plant are relative to this file's folder; it need not be there
    kept: KeptFleet
    environment: Mapping[str, str]
    value: bytes  # the signed configuration that it begins with


def read_plant(
    value: bytes, public_key: str, path: Path, environment: Mapping[str, str]
) -> tuple[SignedPlant, LoadedPlant]:
    """Return the plant in a value of the store; the rest as in `FleetNodeSetup`.

    Raises:
        ConfigError: it is not the operator's, or not valid on this box.
    """
    signed = checked_signature(value, public_key)
    try:
        data = tomllib.loads(signed.text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"plant {signed.serial} of {signed.author}: not valid TOML: {exc}") from exc
    return signed, checked_plant(TomlFile(path, signed.text, data), environment)


class FleetFollower:
    """Opens and closes cameras as the plan says; lives in the event loop's thread."""

    def __init__(
        self,
        setup: FleetNodeSetup,
        cameras: CameraManager,
        inherited: Inheritance,
        snapshot: Callable[[], Snapshot],
        check: Callable[[LoadedConfig], None],
        apply: Callable[[LoadedConfig], Awaitable[None]],
        *,
        asked: asyncio.Event,
    ) -> None:
        """`inherited` is what the records of before say of cameras that this box had.

        `check` raises ConfigError for a plant that cannot be used in this run; `apply` brings cameras in force. `asked`
        is set (by SIGHUP) to have the secrets read again; also before there is a follower.

        Raises:
            ConfigError: the configuration that it begins with is not the operator's, or not valid here.
        """
        self._setup = setup
        self._member = setup.member
        self._cameras = cameras
        self._epochs_before = dict(inherited.epochs)  # under which this box had cameras last
        self._snapshot = snapshot
        self._check = check
        self._apply = apply
        self._asked = asked
        self._link = FleetLink(setup.member, setup.store, self._report, self._obey, self._configure)
        self._changed = asyncio.Event()
        self._epochs: dict[str, int] = {}
        self._fullness = Fullness()
        self._sizes_wh: dict[str, tuple[int, int]] = {}
        self._pixels = defaultdict[str, DecodedPixels](DecodedPixels)
        self._leaving = False
        self._refused_value, self._refused_why = b"", ""
        self._value = setup.value
        self._signed, self._plant = self._read(setup.value)
        self._check_all(self._plant)
        self._take_plant()

    async def run(self) -> None:
        """Take part in the fleet until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(), name="fleet")
            tasks.create_task(self._read_secrets_when_asked(), name="fleet's secrets")
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._carry_out()

    async def leave(self) -> None:
        """Give all cameras away: others open them while this node drains."""
        self._leaving = True
        await self._link.leave()

    def absence_of(self, camera: str, own: Absence | None) -> Absence | None:
        """Return since when nobody inspected a camera that is opened now; None: somebody does, or nobody knows.

        `own` is since when this box does not. Of a camera that was lost, or that this box had all the time, it holds
        where the fleet does not know, or knows only of an inspection before.
        """
        assignment = None if self._member.plan is None else self._member.plan.cameras.get(camera)
        since_s = self._member.last_inspected_s(camera)
        if assignment is None:
            return None
        if assignment.cause and since_s is not None and (own is None or own.since_s < since_s):
            return Absence(since_s, assignment.cause)
        epoch = assignment.epoch_for(self._member.name)
        return own if assignment.cause or epoch == self._epochs_before.get(camera) else None

    def epoch_of(self, camera: str) -> int:
        """Return the epoch under which this box inspects a camera, 0 where it does not."""
        return self._epochs.get(camera, 0)

    def fleet_status(self) -> FleetStatus:
        """Return what an operator should know of the fleet."""
        membership = self._member.membership
        living, silent = membership.living(), sorted(membership.lost())
        words = f"node {self._member.name}, {len(living)} of {len(living) + len(silent)} boxes"
        if self._link.is_deaf:
            return FleetStatus(f"node {self._member.name}", tuple(self._alarms()))
        notices = (f"no sign of life of {_some(silent)}: vision-line fleet status",) if silent else ()
        return FleetStatus(words, tuple(self._alarms()), notices)

    def _alarms(self) -> Sequence[str]:
        found = []
        if self._member.doubles:
            found.append(f"another process calls itself node {self._member.name}: give each a name of its own")
        if self._link.is_deaf:
            found.append("the fleet's store is away: cameras go on where they are, and none is given to another box")
        if (apart_s := self._link.clock_apart_s) is not None:
            found.append(
                f"the clock of the fleet's store is {abs(apart_s):.0f} s {'ahead of' if apart_s > 0 else 'behind'} this"
                " box's: set both by NTP, or it is not known for how long nobody inspected after a power cut"
            )
        if self._member.breaker.is_holding:
            found.append("many boxes fell silent at once: no camera is moved for some seconds")
        if self._member.is_leading and self._member.plan is not None and self._member.plan.left_out:
            found.append(f"no box inspects {_some(sorted(self._member.plan.left_out))}")
        return found

    def status(self) -> ConfigStatus:
        """Return what of the plant in the store is not in force."""
        if not self._refused_why:
            return ConfigStatus()
        serial = self._signed.serial
        return ConfigStatus(f"plant {serial} stays in force, the one in the store is not used: {self._refused_why}")

    def _configure(self, value: bytes) -> None:
        """Take a configuration of the store, if it is the operator's, valid, and newer."""
        if value == self._value:
            self._refused_value, self._refused_why = b"", ""
            return
        if value == self._refused_value:
            return
        try:
            signed, plant = self._read(value)
            if signed.serial <= self._signed.serial:
                raise ConfigError(
                    f"plant {signed.serial} in the store is not newer than {self._signed.serial}, in force"
                )
            self._check_all(plant)
        except ConfigError as exc:
            self._refused_value, self._refused_why = value, in_short(exc)
            logger.error("the plant in the store is not used, the previous one stays in force:\n%s", exc)
            return
        self._signed, self._plant, self._value = signed, plant, value
        self._refused_value, self._refused_why = b"", ""
        logger.info("plant %d, applied by %s, is in force", signed.serial, signed.author)
        self._take_plant()

    async def _read_secrets_when_asked(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                signed, plant = self._read(self._value)
                self._check_all(plant)
            except ConfigError as exc:
                logger.error(
                    "secrets were read again, and with them the plant cannot be used; nothing changes:\n%s", exc
                )
                continue
            logger.info("secrets were read again for plant %d", signed.serial)
            self._plant = plant
            self._take_plant()

    def _read(self, value: bytes) -> tuple[SignedPlant, LoadedPlant]:
        return read_plant(value, self._setup.public_key, self._setup.path, self._setup.environment)

    def _check_all(self, plant: LoadedPlant) -> None:
        """Refuse a plant of which this node could not inspect every camera, whatever the plan will say."""
        self._check(plant.of_box(frozenset(plant.cameras)))

    def _take_plant(self) -> None:
        if lacking := self._plant.without_secret:
            names = ", ".join(f"{name} ({secrets})" for name, secrets in lacking.items())
            logger.warning("cameras that this box cannot inspect, because it lacks secrets: %s", names)
        self._member.configure(fleet_cameras(self._plant), self._signed.serial)
        self._link.keep(self._value)
        self._changed.set()

    def _obey(self, _plan: FleetPlan) -> None:
        self._changed.set()

    async def _carry_out(self) -> None:
        plan = self._member.plan or FleetPlan()
        own = {name: one.epoch_for(self._member.name) or 0 for name, one in plan.of_node(self._member.name)}
        loaded = self._plant.of_box(frozenset(own))
        if self._member.name in plan.reduced:
            loaded = _at_least_rates(loaded)
        running = [managed.stream.name for managed in self._cameras.running]
        self._epochs_before |= {name: own.get(name, self._epochs.get(name, 0)) for name in running}
        self._epochs |= own
        await self._apply(loaded)
        try:
            await asyncio.to_thread(self._setup.kept.write, self._value, plan)
        except RunError as exc:
            logger.warning("a restart without the fleet's store will not know its cameras: %s", exc)

    def _report(self) -> NodeReport:
        now_s, seen = time.monotonic(), {camera.name: camera for camera in self._snapshot().cameras}
        self._fullness.note(lacks_capacity=any(camera.lacks_capacity for camera in seen.values()), now_s=now_s)
        running = [managed.stream.name for managed in self._cameras.running]
        self._sizes_wh |= self._cameras.sizes_wh()
        for name in running:
            if name in seen and name in self._sizes_wh:
                width, height = self._sizes_wh[name]
                self._pixels[name].note(width * height * seen[name].fps_in, now_s)
        return self._setup.report.model_copy(
            update={
                "version": __version__,
                "full": self._fullness.is_full,
                "leaving": self._leaving,
                "refuses": frozenset(self._plant.without_secret),
                "lacks": dict(self._plant.without_secret),
                "plant_refused": self._refused_why,
                "cameras": {
                    name: CameraReport(
                        epoch=self._epochs.get(name, 0),
                        inspected=name in seen and seen[name].is_inspecting,
                        pixels_s=self._pixels[name].a_second,
                    )
                    for name in running
                },
            }
        )


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:6])}{f' + {len(names) - 6} more' if names[6:] else ''}"


def _at_least_rates(loaded: LoadedConfig) -> LoadedConfig:
    """Return the configuration with each camera inspected as rarely as its parts allow."""
    streams = [stream.model_copy(update={"inspect_fps": least_fps(stream)}) for stream in loaded.config.stream]
    return LoadedConfig(loaded.config.model_copy(update={"stream": streams}), loaded.path, loaded.sha256)
