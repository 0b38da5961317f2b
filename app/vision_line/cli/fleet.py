# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line fleet`: bring a plant in force, show it, explain it, empty a box."""

from __future__ import annotations

import asyncio
import json
import os
import time
import tomllib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer
from pydantic import ValidationError

from vision_line.cli.command_user import command_user
from vision_line.cli.node import fleet_store
from vision_line.config.load import PLACEHOLDER
from vision_line.config.plant_load import LoadedPlant, checked_plant
from vision_line.config.table_values import NODE_NAME
from vision_line.config.toml import TomlFile, read_toml
from vision_line.errors import ConfigError, ExitCode, RunError
from vision_line.fleet.coordination import CONFIG, DRAIN, DRAIN_PREFIX, NO_DRAIN, Coordination, StoreEntry
from vision_line.fleet.fleet_view import FleetView, watched_fleet
from vision_line.fleet.node_report import NodeReport
from vision_line.fleet.plant_cameras import fleet_cameras
from vision_line.fleet.signed_plant import SignedPlant, checked_signature, new_fleet, signed_plant
from vision_line.fleet.store_users import make_seed, public_key_of, user_entry
from vision_line.fleet.workload import FleetCamera, FleetNode
from vision_line.records.seal import load_signing_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: How long a box that is to give its cameras away is waited for.
DRAIN_S = 120.0
#: What a box that drains has kept for this long, while nobody is to take it over, it keeps: a new leader takes less.
SETTLED_S = 8.0
#: A box that drains and was not heard so many times in a row, each for longer than a heartbeat, is gone.
GONE_AFTER = 4

_T = TypeVar("_T")


def apply(
    path: Path, servers: tuple[str, ...], key_file: Path, seed: Path | None, *, dry_run: bool, new_key: bool = False
) -> None:
    """Check, show, sign and write a plant; only with `new_key` where the one in the store has another's signature.

    Raises:
        VisionLineError: it is not valid, or the store does not take it.
    """
    file = read_toml(path)  # once: what is signed is what was checked and shown
    plant, key = checked_plant(file, os.environ), load_signing_key(key_file)
    view = _with_store(servers, seed, watched_fleet)
    before = _applied(view.config)
    # A store that was restored may have an older plant than boxes: they take only what has a higher number than theirs.
    in_force = max((one.config_serial for one in view.reports.values()), default=0)
    if before is None and in_force:
        raise RunError(f"the store has lost plant {in_force}, and boxes put it back in a moment: apply again")
    if view.config is not None and before is not None and not new_key:
        _check_signer(key_file, key, view.config)
    compared = _in_force(view, before)
    for line in [*_differences(compared, plant), *_new_secrets(compared, plant), *_moves(view, plant)]:
        typer.echo(line)
    if dry_run:
        return
    serial, fleet = (1, new_fleet()) if before is None else (max(before.serial, in_force) + 1, before.fleet)
    new = signed_plant(key, serial, fleet, command_user(), time.time(), file.text)
    expected = 0 if view.config is None else view.config.revision
    revision = _with_store(servers, seed, lambda store: store.swap(CONFIG, new.to_bytes(), expected))
    if revision is None:
        raise RunError("somebody else applied a plant meanwhile: look at it, and apply again")
    typer.echo(f"plant {serial} is in the store")


def show_status(servers: tuple[str, ...], seed: Path | None, *, as_json: bool) -> ExitCode:
    """Print the fleet as it is now; return FAILED where nobody inspects a camera.

    Raises:
        VisionLineError: the store does not answer, or has no plant.
    """
    view = _with_store(servers, seed, watched_fleet)
    plant = _plant_of(view)
    cameras = fleet_cameras(plant)
    lost, uninspected = view.not_survived(cameras), view.not_inspected(cameras)
    code = ExitCode.FAILED if uninspected else ExitCode.DONE
    if as_json:
        typer.echo(json.dumps(_as_json(view, lost, uninspected), indent=2))
        return code
    for name, report in sorted(view.reports.items()):
        marks = [word for word, holds in _marks(view, name).items() if holds]
        inspected = sum(camera.inspected for camera in report.cameras.values())
        share = f"{inspected} of {len(list(view.plan.of_node(name)))} cameras inspected"
        typer.echo(f"{name}: {share}{', ' if marks else ''}{', '.join(marks)}")
    for name in sorted(view.silent - view.reports.keys()):
        typer.echo(f"{name}: away")
    for camera, why in sorted(view.plan.left_out.items()):
        typer.echo(f"not inspected: {camera}: {why}")
    for name, names in lost.items():
        typer.echo(f"without {name}: nobody could inspect {', '.join(names)}")
    now = f": nobody inspects {len(uninspected)} of {len(cameras)} cameras now" if uninspected else ""
    if uninspected:
        typer.echo(f"nobody inspects now: {', '.join(uninspected)}")
    typer.echo(f"survives the loss of any one box: {'no' if lost or uninspected else 'yes'}{now}")
    return code


def show_user(seed: Path, node: str | None) -> None:
    """Print a user of the store's servers, as their configuration has it; the key is made if it is not there.

    Raises:
        ConfigError: the name or the file is none.
    """
    if node is not None and not NODE_NAME.fullmatch(node):
        raise ConfigError(f"--node: expected 1 to 64 letters, digits, '_', '-', found {node!r}")
    if not seed.exists():
        make_seed(seed)
    typer.echo(f"{user_entry(public_key_of(seed), node)}  # {node or 'the operator'}")


def show_why(camera: str, servers: tuple[str, ...], seed: Path | None) -> None:
    """Print who inspects a camera, and what stands against the others.

    Raises:
        VisionLineError: the store does not answer, or has no such camera.
    """
    view = _with_store(servers, seed, watched_fleet)
    cameras = fleet_cameras(_plant_of(view))
    if camera not in cameras:
        like = "".join(f", did you mean {name}?" for name in get_close_matches(camera, cameras, n=1))
        raise ConfigError(f"the plant has no camera {camera!r} that is enabled{like}")
    assignment = view.plan.cameras.get(camera)
    nodes = view.nodes(cameras)
    if assignment is None or not assignment.node:
        typer.echo(f"{camera}: nobody inspects it: {view.plan.left_out.get(camera, 'no plan has it yet')}")
    elif assignment.node not in nodes:
        why = view.plan.left_out.get(camera, "no plan has given it to another box yet")
        typer.echo(f"{camera}: nobody inspects it: {assignment.node}, which had it, is away; {why}")
    else:
        since = f" since plan {assignment.epoch}" + (f", after {assignment.cause}" if assignment.cause else "")
        heir = f", and {assignment.heir} is to take it over" if assignment.heir else ""
        typer.echo(f"{camera}: {assignment.node}{since}{heir}")
    for name, node in sorted(nodes.items()):
        if assignment is not None and name == assignment.node:
            continue
        why = _stands_against(node, cameras[camera]) or "may, but nothing moves without need"
        typer.echo(f"  {name}: {why}")


def _stands_against(node: FleetNode, camera: FleetCamera) -> str:
    """Return why a box is not given a camera, apart from its room; "" where it may be."""
    if why := node.obstacle(camera):
        return why
    return "is draining" if node.is_draining else "is too slow for what it has already" if node.is_full else ""


def drain(node: str, servers: tuple[str, ...], seed: Path | None, *, undo: bool) -> None:
    """Have a box give its cameras away, and wait until it has; or let it have cameras again.

    Raises:
        VisionLineError: the store does not answer, there is no such box, or it keeps cameras that no other one takes.
    """

    async def ask(store: Coordination) -> list[str]:
        if node not in (view := await watched_fleet(store)).reports:
            raise ConfigError(f"no box {node!r} is there, expected one of {', '.join(sorted(view.reports)) or 'none'}")
        await store.put(DRAIN_PREFIX + node, NO_DRAIN if undo else DRAIN)
        return [] if undo else await _drained(store, node)

    kept = _with_store(servers, seed, ask)
    if kept:
        raise RunError(
            f"{node} keeps cameras and is given no more, until `vision-line fleet drain {node} --undo`:\n"
            + "\n".join(f"  {line}" for line in kept)
        )
    typer.echo(f"{node} may have cameras again; none comes back by itself" if undo else f"{node} has no cameras")


async def _drained(store: Coordination, node: str) -> list[str]:
    """Wait until a box has no cameras, or nothing moves any more; return what it keeps and why, a line each reason."""
    began_s = since_s = time.monotonic()
    before: dict[str, str] | None = None
    times_silent = 0
    while True:
        view = await watched_fleet(store)
        report = view.reports.get(node)
        if node in view.left or (report is not None and not report.cameras):
            return []
        cameras = fleet_cameras(_plant_of(view))
        times_silent = times_silent + 1 if report is None else 0
        if report is None:  # perhaps it was only not heard
            if times_silent >= GONE_AFTER:
                typer.echo(f"{node} gives no sign of life any more")
                waiting = [name for name, _ in view.plan.of_node(node) if name in view.plan.left_out]
                return _why_kept(view, node, [cameras[name] for name in waiting if name in cameras])
            continue
        now_s, held = time.monotonic(), {name: view.heir_of(name) for name in sorted(report.cameras)}
        if held != before:
            typer.echo(f"{node} still has {', '.join(held)}")
            before, since_s = held, now_s
        is_settled = now_s - since_s > SETTLED_S and not any(held.values())
        are_pinned = all(name in cameras and cameras[name].pin == node for name in held)
        if (report.draining and (is_settled or are_pinned)) or now_s - began_s > DRAIN_S:
            return _why_kept(view, node, [cameras[name] for name in held if name in cameras])


def _why_kept(view: FleetView, node: str, cameras: list[FleetCamera]) -> list[str]:
    """Return why no other box takes cameras of one that drains, those of one reason in one line."""
    lines = defaultdict[str, list[str]](list)
    names = [camera.name for camera in cameras]
    others = {name: one for name, one in sorted(view.nodes(names).items()) if name != node}
    for camera in cameras:
        against = [f"{name}: {_stands_against(one, camera) or 'has no room'}" for name, one in others.items()]
        why = f"pinned to {node}" if camera.pin == node else "; ".join(against) or "no other box is there"
        lines[why].append(camera.name)
    return [f"{', '.join(names)}: {why}" for why, names in lines.items()]


def _with_store(servers: tuple[str, ...], seed: Path | None, work: Callable[[Coordination], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        store = fleet_store(servers, "operator", seed)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _applied(entry: StoreEntry | None) -> SignedPlant | None:
    """Return what stands in the store, whoever signed it: it is only shown, and written over."""
    try:
        return None if entry is None else SignedPlant.model_validate_json(entry.value)
    except ValidationError as exc:
        raise RunError("the plant in the store is of a newer version") from exc


def _in_force(view: FleetView, applied: SignedPlant | None) -> SignedPlant | None:
    """Return the plant of the store, None where boxes are there and all of them refuse it."""
    reports = view.reports.values()
    return None if reports and all(report.plant_refused for report in reports) else applied


def _check_signer(key_file: Path, key: Ed25519PrivateKey, entry: StoreEntry) -> None:
    """Refuse a key that boxes would not take the plant of.

    Raises:
        ConfigError: the plant in the store is signed by another one.
    """
    try:
        checked_signature(entry.value, key.public_key().public_bytes_raw().hex())
    except ConfigError as exc:
        raise ConfigError(
            f"--key {key_file}: the plant in the store is not signed by this key, so that boxes would go on without the"
            " new plant; expected the key of which they have the public half. Where they get the public half of this"
            " one, or the plant in the store is not the operator's: --new-key"
        ) from exc


def _plant_of(view: FleetView) -> LoadedPlant:
    applied = _applied(view.config)
    if applied is None:
        raise ConfigError("the fleet has no plant yet: vision-line fleet apply plant.toml")
    return _parsed(applied)


def _parsed(applied: SignedPlant) -> LoadedPlant:
    return checked_plant(TomlFile(Path("plant.toml"), applied.text, tomllib.loads(applied.text)), os.environ)


def _differences(before: SignedPlant | None, plant: LoadedPlant) -> list[str]:
    """Return what changes, a line each."""
    old = {} if before is None else _settings(_parsed(before))
    new = _settings(plant)
    lines = [f"+ {name}" for name in new if name not in old]
    lines += [f"- {name}" for name in old if name not in new]
    lines += [f"~ {name}" for name in new if name in old and new[name] != old[name]]
    return sorted(lines, key=lambda line: line[2:]) or ["no camera changes"]


def _settings(plant: LoadedPlant) -> dict[str, tuple[str, str, object]]:
    return {
        stream.name: (stream.display_url, stream.settings_json, plant.cameras[stream.name])
        for stream in plant.loaded.config.enabled_streams
    }


def _new_secrets(before: SignedPlant | None, plant: LoadedPlant) -> list[str]:
    """Return which secrets boxes did not need until now: whether they have them is not known."""
    known = {name for names in ({} if before is None else _parsed(before).secrets).values() for name in names}
    needed = defaultdict[str, list[str]](list)
    for camera, names in plant.secrets.items():
        for name in names:
            needed[name].append(camera)
    return [
        f"{{{name}}} is needed for {', '.join(cameras)}, and was not before: a box without it cannot inspect them"
        for name, cameras in needed.items()
        if name not in known
    ]


def _with_secrets_of(view: FleetView, plant: LoadedPlant) -> FleetView:
    """Return the view once boxes have `plant`, of which they cannot inspect what they lack the secrets for already."""
    reports = {}
    for node, report in view.reports.items():
        missing = {name for words in report.lacks.values() for name in PLACEHOLDER.findall(words)}
        lacks = {
            camera: ", ".join(f"{{{name}}}" for name in names if name in missing)
            for camera, names in plant.secrets.items()
            if missing.intersection(names)
        }
        has_it = {"refuses": frozenset(lacks), "lacks": lacks, "config_serial": view.plan.config_serial}
        reports[node] = report.model_copy(update=has_it)
    return replace(view, reports=reports)


def _moves(view: FleetView, plant: LoadedPlant) -> list[str]:
    """Return which cameras move, which begin, and which nobody could inspect."""
    if view.config is None and not view.reports:
        return ["no box is seen: boxes that wait for their first plant are not, and begin once it is in the store"]
    cameras, view = fleet_cameras(plant), _with_secrets_of(view, plant)
    placed, now = view.placed(cameras), view.plan.places(view.nodes())
    lines = [
        f"{name} moves from {now[name]} to {at}" for name, at in sorted(placed.nodes.items()) if now.get(name, at) != at
    ]
    lines += [f"nobody can inspect {name}: {why}" for name, why in sorted(placed.left_out.items())]
    known = sorted(view.reports.keys() | view.silent)
    lines += [
        f"{camera.name} is pinned to {camera.pin}, and no box of that name was ever seen, only {', '.join(known)}"
        for camera in cameras.values()
        if camera.pin and known and camera.pin not in known
    ]
    moved = sum(now.get(name, at) != at for name, at in placed.nodes.items())
    return [*lines, f"{moved} cameras move, {len(placed.nodes.keys() - now.keys())} begin"]


def _marks(view: FleetView, name: str) -> dict[str, bool]:
    report = view.reports[name]
    return {
        "leads": view.leader == name,
        "ANOTHER PROCESS HAS ITS NAME": report.doubled,
        "draining": report.draining,
        "too slow for what it has, is given no more": report.full,
        "inspects as rarely as parts allow": name in view.plan.reduced,
        f"has no secret for {', '.join(_refused(report))}": bool(report.refuses),
        f"still at plan {report.plan_epoch} of {view.plan.epoch}": report.plan_epoch < view.plan.epoch,
        f"REFUSES THE PLANT IN THE STORE, goes on with plant {report.config_serial}: {report.plant_refused}": bool(
            report.plant_refused
        ),
        f"goes on with plant {report.config_serial} of {view.plan.config_serial}, is given no camera that it has not": (
            view.has_older_plant(report) and not report.plant_refused
        ),
    }


def _refused(report: NodeReport) -> list[str]:
    return [f"{name} ({report.lacks[name]})" if name in report.lacks else name for name in sorted(report.refuses)]


def _as_json(view: FleetView, lost: dict[str, list[str]], uninspected: list[str]) -> dict[str, object]:
    return {
        "leader": view.leader,
        "plan": view.plan.model_dump(mode="json"),
        "boxes": {name: report.model_dump(mode="json") for name, report in sorted(view.reports.items())},
        "away": sorted(view.silent - view.reports.keys()),
        "not_survived": lost,
        "not_inspected": uninspected,
        "survives_any_one": not lost and not uninspected,
    }
