# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line node`: today's run, with its cameras from the fleet's plan."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import sys
import time
import uuid
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from vision_line.cli.desk_process import LatestNews, SaidNews
from vision_line.cli.run import SWITCH_INTERVAL_S, screen_of
from vision_line.cli.silence_of_baselines import read_baselines
from vision_line.config.table_values import NODE_NAME
from vision_line.errors import ConfigError
from vision_line.fleet.box_capacity import BoxCapacity
from vision_line.fleet.coordination import CONFIG, NODE_PREFIX, Coordination, CoordinationError, StoreEntry
from vision_line.fleet.fleet_member import FleetMember
from vision_line.fleet.kept_fleet import KeptFleet
from vision_line.fleet.membership import LEASE_S
from vision_line.fleet.node_report import NodeReport
from vision_line.fleet.signed_plant import checked_signature
from vision_line.fleet.store_users import public_key_of
from vision_line.footprint import share_heaps
from vision_line.leaving import run_with_signals_held
from vision_line.packages import install_extra
from vision_line.records.seal import load_public_key
from vision_line.runtime.fleet_follower import FleetNodeSetup, read_plant
from vision_line.runtime.options import RunOptions
from vision_line.runtime.program import run_program
from vision_line.screens.dashboard import can_show
from vision_line.screens.lines import say
from vision_line.screens.logs import logging_to_file, logging_to_stream
from vision_line.screens.printed_lines import printed_lines_logged

#: How long the store is asked before what was kept is used.
STORE_S = 5.0
ASK_EVERY_S = 0.5

#: Relative paths of a plant are relative to its folder.
PLANT_PATH = Path("plant.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """The command line of a node."""

    servers: tuple[str, ...]
    key: Path
    capacity: Path
    name: str | None
    labels: frozenset[str]
    address: str
    seed: Path | None
    keep: Path
    model: Path | None
    device: str | None
    record: Path | None
    headless: bool


def run_node(options: NodeOptions) -> int:
    """Inspect what the fleet gives to this box; return the exit code.

    Raises:
        VisionLineError: an option or the plant is wrong, or the run cannot go on.
    """
    name = options.name or re.sub(r"[^A-Za-z0-9_-]", "-", platform.node().partition(".")[0])
    if not NODE_NAME.fullmatch(name):
        raise ConfigError(f"--node: expected 1 to 64 letters, digits, '_', '-', found {name!r}")
    public_key, capacity, kept = load_public_key(options.key), _capacity(options.capacity), KeptFleet(options.keep)
    before = kept.read()
    value, is_kept = asyncio.run(
        first_plant(options.servers, options.seed, name, public_key, None if before is None else before[0])
    )
    fleet = checked_signature(value, public_key).fleet
    member = FleetMember(name, uuid.uuid4().hex)
    if is_kept and before is not None:
        member.obey(before[1])  # nobody can say whether it still holds; a plant must not stop for that
    setup = FleetNodeSetup(
        store=fleet_store(options.servers, name, options.seed),
        member=member,
        fleet=fleet,
        report=NodeReport(
            labels=options.labels,
            address=options.address,
            inspections_mhz=round(capacity.inspections_per_s * 1000),
            pixels_s=round(capacity.mpixels_per_s * 1e6),
        ),
        capacity=capacity,
        public_key=public_key,
        path=PLANT_PATH,
        kept=kept,
        environment=os.environ,
        value=value,
    )
    return _serve(options, setup)


def fleet_store(servers: tuple[str, ...], name: str, seed: Path | None) -> Coordination:
    """Return the store of a fleet, which is connected when it is asked something.

    Raises:
        ConfigError: a package is missing, a server's URL is none, or `seed` holds no key.
    """
    try:
        from vision_line.fleet.nats_coordination import NatsCoordination
    except ImportError as exc:
        raise ConfigError(f"a fleet needs nats-py: {install_extra('fleet')}") from exc
    for url in servers:
        if not re.fullmatch(r"(nats|tls)://\S+", url):
            raise ConfigError(f"--fleet: expected nats://HOST:PORT or tls://HOST:PORT, found {url!r}")
    if seed is not None:
        public_key_of(seed)
    return NatsCoordination(servers, name, seed_file=seed)


def _serve(options: NodeOptions, setup: FleetNodeSetup) -> int:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    share_heaps()
    loaded = read_plant(setup.value, setup.public_key, setup.path, setup.environment)[1].of_box(frozenset())
    run = RunOptions(
        streams=setup.path,
        model=options.model,
        device=options.device,
        headless=options.headless,
        record=options.record,
    )
    console = Console()
    has_dashboard = can_show(console) and not options.headless
    news = LatestNews() if has_dashboard else SaidNews(sys.stdout)
    directory = options.record or Path(loaded.config.record.directory)

    async def serve(screen_console: Console) -> int:
        try:
            screen = screen_of(run, loaded, screen_console, news)
            outcome = await run_program(run, loaded, [], screen, setup, read_baselines=read_baselines)
        finally:
            await setup.store.close()
        return outcome.exit_code

    with (
        logging_to_file(directory) if has_dashboard else logging_to_stream(),
        printed_lines_logged(console) if has_dashboard else nullcontext(console) as screen_console,
    ):
        return run_with_signals_held(serve(screen_console))


async def first_plant(
    servers: tuple[str, ...], seed: Path | None, name: str, public_key: str, kept: bytes | None
) -> tuple[bytes, bool]:
    """Return the plant in the store, or what was kept, and whether the store is away; wait where there is neither.

    Raises:
        ConfigError: what is there cannot be used on this box, or another process has its name.
    """
    store = fleet_store(servers, f"{name}-start", seed)
    was_away: bool | None = None  # when it was said last what is waited for
    try:
        while True:
            entry, away = None, ""
            try:
                async with asyncio.timeout(STORE_S):
                    entry = await store.get(CONFIG)
            except (CoordinationError, TimeoutError) as exc:
                away = str(exc) or f"the store did not answer within {STORE_S:g} s"
            if entry is not None or kept is not None:
                if entry is not None:
                    await _check_name(store, name)
                known = [value for value in (None if entry is None else entry.value, kept) if value is not None]
                return _newest_usable(known, public_key), entry is None
            if bool(away) is not was_away:
                was_away = bool(away)
                say(f"waiting: {away or 'there is no plant yet: vision-line fleet apply plant.toml'}", sys.stderr)
            await asyncio.sleep(ASK_EVERY_S)
    finally:
        await store.close()


async def _check_name(store: Coordination, name: str) -> None:
    """Refuse a name of which somebody gives signs of life: two of one name take each other's cameras.

    One that ended without a last word, perhaps the process before, is waited for as long as a lease.

    Raises:
        ConfigError: somebody does.
    """
    first: StoreEntry | None = None
    deadline_s = time.monotonic() + LEASE_S
    while time.monotonic() < deadline_s:
        with suppress(CoordinationError):
            entry = await store.get(NODE_PREFIX + name)
            if entry is None or _has_left(entry):
                return
            if first is not None and entry.revision != first.revision:
                raise ConfigError(
                    f"--node {name}: another process of this name gave a sign of life just now: give each box a name of"
                    " its own"
                )
            first = entry
        await asyncio.sleep(ASK_EVERY_S)


def _has_left(entry: StoreEntry) -> bool:
    try:
        return NodeReport.model_validate_json(entry.value).leaving
    except ValidationError:
        return False  # of a newer version, and perhaps alive


def _newest_usable(values: list[bytes], public_key: str) -> bytes:
    """Return the newest plant that can be used here: a box inspects by a good one, whatever else the store has.

    Raises:
        ConfigError: none can; it says what is wrong with the first.
    """
    usable, faults = dict[bytes, int](), []
    for value in values:
        try:
            usable[value] = read_plant(value, public_key, PLANT_PATH, os.environ)[0].serial
        except ConfigError as exc:
            faults.append(exc)
    if not usable:
        raise faults[0]
    return max(usable, key=lambda value: usable[value])


def _capacity(path: Path) -> BoxCapacity:
    try:
        return BoxCapacity.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"--capacity {path}: cannot be read: {exc.strerror}") from exc
    except ValidationError as exc:
        found = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg']}" for one in exc.errors())
        raise ConfigError(
            f"--capacity {path}: found {found}; expected what `vision-line bench --write` writes, or"
            ' {"inspections_per_s": 120, "mpixels_per_s": 900}'
        ) from exc
