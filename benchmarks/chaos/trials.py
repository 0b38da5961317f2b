# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is done to the plant, and what must hold: no healthy camera moves, and what was missed is in the records."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos import own_network
from benchmarks.chaos.ledgers import Ledgers, Opened
from benchmarks.chaos.plant import ChaosPlant
from benchmarks.faults.waiting import wait_until
from vision_line.fleet.coordination import LEADER, PLAN
from vision_line.fleet.fleet_member import Claim

#: A camera of a dead box is inspected elsewhere within this; the goal of docs/decisions/0052-fleet.md.
WORST_S = 10.0
#: How long is waited for what should have come long before.
PATIENCE_S = 90.0
#: A ledger finds a gap once no result can be under way, and writes it with the next second.
WRITTEN_S = 4.0
#: How long a camera may be inspected by nobody where nothing moves: a busy machine is late now and then.
SEAM_S = 1.0
LOST_PERCENT, LOSSY_S = 5, 60.0
AWAY = "the fleet's store is away"


@dataclass(frozen=True, slots=True)
class Finding:
    """What must hold, whether it did, and what was found."""

    trial: str
    holds: bool
    words: str


@dataclass(slots=True)
class Chaos:
    """The plant with its records; `takeovers_s` collects how long cameras of killed boxes were not inspected."""

    plant: ChaosPlant
    ledgers: Ledgers
    takeovers_s: list[float]

    def moved(self, since_utc: float, but: Sequence[str] = ()) -> list[Opened]:
        """Return which cameras some box opened after a moment, but these."""
        return [one for one in self.ledgers.opened_since(since_utc) if one.camera not in but]

    def taken_over(self, cameras: Sequence[str], dead: str, since_utc: float) -> dict[str, Opened]:
        """Wait until other boxes inspect these cameras; return their first inspections."""
        found: dict[str, Opened] = {}

        def are() -> bool:
            for one in self.ledgers.opened_since(since_utc):
                if one.node != dead and one.inspected_utc is not None:
                    found.setdefault(one.camera, one)
            return found.keys() >= set(cameras)

        wait_until(are, PATIENCE_S, f"the cameras of {dead} are inspected elsewhere")
        return {camera: found[camera] for camera in cameras}

    def looked(self, since_utc: float, until_utc: float, cameras: Sequence[str] = ()) -> float:
        """Return for how long some box inspected the worst of these cameras too little, in seconds."""
        time.sleep(WRITTEN_S)
        return max(self.ledgers.unlit_s(camera, since_utc, until_utc) for camera in cameras or self.plant.cameras)


Trial = Callable[[Chaos], Iterator[Finding]]


def no_moves(trial: str, moved: Sequence[Opened]) -> Finding:
    """Return whether no camera was opened that should not have been."""
    names = ", ".join(f"{one.camera} to {one.node}" for one in moved[:4])
    return Finding(f"{trial}: no other camera moves", not moved, f"{len(moved)} moved{f': {names}' if names else ''}")


def _busiest(chaos: Chaos, owners: dict[str, str], but: Sequence[str] = ()) -> str:
    held = [name for camera, name in owners.items() if camera not in chaos.plant.only and name not in but]
    return max(sorted(set(held)), key=held.count)


def _killed(chaos: Chaos, trial: str, choose: Callable[[dict[str, str]], str]) -> Iterator[Finding]:
    plant = chaos.plant
    owners = plant.until_inspected()
    dead = choose(owners)
    lost = sorted(camera for camera, name in owners.items() if name == dead and camera not in plant.only)
    stuck = [camera for camera, name in owners.items() if name == dead and camera in plant.only]
    at_utc = plant.kill(dead)
    heirs = chaos.taken_over(lost, dead, at_utc)
    took_s = [(one.inspected_utc or 0.0) - at_utc for one in heirs.values()]
    chaos.takeovers_s += took_s
    words = f"{dead} with {len(lost)} cameras: {min(took_s):.1f} to {max(took_s):.1f} s"
    yield Finding(f"{trial}: inspected elsewhere within {WORST_S:g} s", max(took_s) <= WORST_S, words)
    yield no_moves(trial, chaos.moved(at_utc, [*lost, *stuck]))
    plant.start_node(dead)  # which takes its time, in which the heirs write
    time.sleep(WRITTEN_S)
    said = [chaos.ledgers.missing(at_utc, one.inspected_utc or 0.0) for one in heirs.values()]
    unsaid = [
        camera
        for (camera, one), gaps in zip(heirs.items(), said, strict=True)
        if not any(
            gap.node == one.node
            and gap.camera == camera
            and gap.cause == "node:lost"
            and gap.started_utc < at_utc + 0.5
            for gap in gaps
        )
    ]
    yield Finding(f"{trial}: the gap is in the heir's records", not unsaid, f"{len(lost) - len(unsaid)} of {len(lost)}")
    for camera in stuck:
        given = [one for one in chaos.ledgers.opened_since(at_utc) if one.camera == camera and one.node != dead]
        yield Finding("a camera that one box alone reaches is given to no other", not given, f"{len(given)} opened it")
    plant.until_back(dead)
    if stuck:
        plant.until_inspected(stuck)
        yield Finding("and is inspected again when its box is back", True, ", ".join(stuck))


def kill_a_node(chaos: Chaos) -> Iterator[Finding]:
    """The box with the most cameras dies."""
    yield from _killed(chaos, "a box is killed", lambda owners: _busiest(chaos, owners))


def kill_the_leader(chaos: Chaos) -> Iterator[Finding]:
    """So does the one that writes the plan, if it has cameras; else it dies first, and another one leads."""
    leader = chaos.plant.view().leader
    if leader not in chaos.plant.until_inspected().values():
        at_utc = chaos.plant.kill(leader)
        wait_until(lambda: chaos.plant.view().leader not in {"", leader}, PATIENCE_S, "another one leads")
        yield no_moves("the leader without cameras is killed", chaos.moved(at_utc))
        chaos.plant.bring_back(leader)
        return
    yield from _killed(chaos, "the leader is killed", lambda _: leader)


def kill_the_only_one(chaos: Chaos) -> Iterator[Finding]:
    """The box dies that alone reaches a camera."""
    (camera, name), *_ = chaos.plant.only.items()
    yield from _killed(chaos, f"the box that alone reaches {camera} is killed", lambda _: name)


def stop_for_2_s(chaos: Chaos) -> Iterator[Finding]:
    """A box hangs for less than a lease."""
    name = _busiest(chaos, chaos.plant.until_inspected())
    since_utc = time.time()
    chaos.plant.signal(name, signal.SIGSTOP)
    time.sleep(2.0)
    chaos.plant.signal(name, signal.SIGCONT)
    time.sleep(5.0)
    yield no_moves("a box hangs for 2 s", chaos.moved(since_utc))


def stop_for_5_s(chaos: Chaos) -> Iterator[Finding]:
    """A box hangs for longer: its cameras move, and when it wakes up it gives them up."""
    owners = chaos.plant.until_inspected()
    name = _busiest(chaos, owners)
    lost = sorted(camera for camera, at in owners.items() if at == name and camera not in chaos.plant.only)
    since_utc = time.time()
    chaos.plant.signal(name, signal.SIGSTOP)
    time.sleep(5.0)
    chaos.plant.signal(name, signal.SIGCONT)
    chaos.taken_over(lost, name, since_utc)
    yield no_moves("a box hangs for 5 s", chaos.moved(since_utc, lost))
    yield from _given_up(chaos, "a box hangs for 5 s", name, lost, since_utc)


def _given_up(chaos: Chaos, trial: str, name: str, lost: Sequence[str], since_utc: float) -> Iterator[Finding]:
    def held() -> list[str]:
        reports = chaos.plant.view().reports
        return [camera for camera in lost if name in reports and camera in reports[name].cameras]

    wait_until(lambda: name in chaos.plant.view().reports and not held(), PATIENCE_S, f"{name} gives up its cameras")
    time.sleep(WRITTEN_S)
    doubled = [chaos.ledgers.doubled_s(camera, since_utc, time.time() - WRITTEN_S) for camera in lost]
    twice, counted = (sum(one[place] for one in doubled) for place in (0, 1))
    words = f"inspected by two boxes for {twice:.1f} camera-seconds, of which {counted:.1f} would count twice"
    yield Finding(f"{trial}: nothing is counted twice", counted == 0.0, words)


def kill_each_server(chaos: Chaos) -> Iterator[Finding]:
    """The store's servers die one after the other, each back before the next."""
    chaos.plant.until_inspected()
    servers = chaos.plant.servers
    for index in range(len(servers.ports)):
        since_utc = time.time()
        servers.kill(index)
        time.sleep(8.0)
        until_utc = time.time()
        servers.start(index)
        unlit_s = chaos.looked(since_utc, until_utc)
        trial = f"server {index + 1} of the store dies"
        yield no_moves(trial, chaos.moved(since_utc))
        yield Finding(f"{trial}: inspection goes on", unlit_s <= SEAM_S, f"{unlit_s:.1f} s not inspected at the most")
        servers.until_healthy()


def kill_two_servers(chaos: Chaos) -> Iterator[Finding]:
    """Without a majority nothing can be agreed on."""
    yield from _without_store(chaos, "two of three servers die", wiped=False, dead=(0, 1))


def wipe_all_servers(chaos: Chaos) -> Iterator[Finding]:
    """The store begins anew, without plan and plant."""
    yield from _without_store(chaos, "all servers die with their disks", wiped=True, dead=(0, 1, 2))
    leaderless = chaos.plant.view()
    plan = leaderless.plan.cameras
    yield Finding("the plan is there again", plan.keys() == set(chaos.plant.cameras), f"{len(plan)} cameras in it")
    wait_until(lambda: chaos.plant.view().config is not None, PATIENCE_S, "the plant is in the store again")
    yield Finding("and so is the plant, signed", True, "put back by a box")


def _without_store(chaos: Chaos, trial: str, *, wiped: bool, dead: Sequence[int]) -> Iterator[Finding]:
    chaos.plant.until_inspected()
    said = {name: _alarms(chaos.plant.said(name)) for name in chaos.plant.nodes}
    since_utc = time.time()
    for index in dead:
        chaos.plant.servers.kill(index, wiped=wiped)
    time.sleep(12.0)
    silent = [name for name in chaos.plant.nodes if _alarms(chaos.plant.said(name)) == said[name]]
    yield Finding(f"{trial}: every box says so", not silent, f"silent: {', '.join(silent) or 'none'}")
    for index in dead:
        chaos.plant.servers.start(index)
    chaos.plant.servers.until_healthy()
    wait_until(lambda: bool(chaos.plant.view().reports), PATIENCE_S, "the store works again")
    chaos.plant.until_inspected()
    until_utc = time.time()
    time.sleep(4.0)
    unlit_s = chaos.looked(since_utc, until_utc)
    yield Finding(f"{trial}: inspection goes on", unlit_s <= SEAM_S, f"{unlit_s:.1f} s not inspected at the most")
    yield no_moves(trial, chaos.moved(since_utc))


def _alarms(said: str) -> int:
    """Return how often it was said."""
    return said.count(AWAY)


def drain_every_node(chaos: Chaos) -> Iterator[Finding]:
    """As for an update, box by box: cameras that others reach are opened there before they are closed here."""
    for name in (one for one in chaos.plant.nodes if one not in chaos.plant.only.values()):
        owners = chaos.plant.until_inspected()
        own = sorted(camera for camera, at in owners.items() if at == name and camera not in chaos.plant.only)
        since_utc = time.time()
        chaos.plant.operator("drain", name)
        until_utc = time.time()
        trial = f"{name} is drained of {len(own)} cameras"
        yield no_moves(trial, chaos.moved(since_utc, own))
        if own:
            unlit_s = chaos.looked(since_utc, until_utc, own)
            yield Finding(f"{trial}: none is missed", unlit_s <= 0.0, f"{unlit_s:.2f} s not inspected at the most")
            doubled = [chaos.ledgers.doubled_s(camera, since_utc, until_utc) for camera in own]
            twice, counted = (sum(one[place] for one in doubled) for place in (0, 1))
            words = f"by two boxes for {twice:.1f} camera-seconds, {counted:.1f} would count twice"
            yield Finding(f"{trial}: nothing is counted twice", counted == 0.0, words)
        chaos.plant.operator("drain", name, "--undo")


def two_leaders(chaos: Chaos) -> Iterator[Finding]:
    """Somebody else is said to lead, and the plan is written over with an older one."""
    chaos.plant.until_inspected()
    view = chaos.plant.view()
    other = next(name for name in chaos.plant.nodes if name != view.leader)
    since_utc = time.time()
    chaos.plant.put(LEADER, Claim(node=other, life=view.reports[other].life).to_bytes())
    chaos.plant.put(PLAN, view.plan.model_copy(update={"epoch": max(view.plan.epoch - 2, 0)}).to_bytes())
    time.sleep(10.0)
    after = chaos.plant.view()
    yield no_moves("another leader and an older plan are forced", chaos.moved(since_utc))
    holds = after.leader != "" and after.plan.epoch >= view.plan.epoch
    yield Finding(
        "one leads, and the plan goes on", holds, f"{after.leader}, plan {after.plan.epoch} after {view.plan.epoch}"
    )


def part_a_node(chaos: Chaos) -> Iterator[Finding]:
    """A box is cut off from the store and not from its cameras: it goes on, others take over, and it gives up later."""
    (name, relays), *_ = chaos.plant.relays.items()
    owners = chaos.plant.until_inspected()
    if name not in owners.values():  # it came when all had their places
        busiest = _busiest(chaos, owners)
        chaos.plant.operator("drain", busiest)
        chaos.plant.operator("drain", busiest, "--undo")
        owners = chaos.plant.until_inspected()
    lost = sorted(camera for camera, at in owners.items() if at == name and camera not in chaos.plant.only)
    since_utc = time.time()
    for relay in relays:
        relay.stall(stalled=True)
    if lost:
        chaos.taken_over(lost, name, since_utc)
    time.sleep(5.0)
    until_utc = time.time()
    for relay in relays:
        relay.stall(stalled=False)
    trial = f"{name} with {len(lost)} cameras is cut off from the store"
    yield no_moves(trial, chaos.moved(since_utc, lost))
    unlit_s = chaos.looked(since_utc, until_utc)
    yield Finding(f"{trial}: it goes on inspecting", unlit_s <= SEAM_S, f"{unlit_s:.1f} s not inspected at the most")
    yield from _given_up(chaos, trial, name, lost, since_utc)


def lose_packets(chaos: Chaos) -> Iterator[Finding]:
    """One packet in twenty is lost, between boxes and store, in the store, and between boxes and cameras."""
    if not own_network.is_own():
        yield Finding("packets are lost: not tried, it needs root and nftables", True, "")
        return
    chaos.plant.until_inspected()
    since_utc = time.time()
    with own_network.lossy(LOST_PERCENT):
        time.sleep(LOSSY_S)
        until_utc = time.time()
    trial = f"{LOST_PERCENT} % of all packets are lost for {LOSSY_S:g} s"
    yield no_moves(trial, chaos.moved(since_utc))
    unlit_s = chaos.looked(since_utc, until_utc)
    words = f"{unlit_s:.1f} s of {LOSSY_S:g} s not inspected at the most, and in the records"
    yield Finding(f"{trial}: inspection goes on", unlit_s <= LOSSY_S / 10, words)


def clock_an_hour_ahead(chaos: Chaos) -> Iterator[Finding]:
    """A box believes that it is an hour later; it takes cameras over, and others take over from it."""
    if not (libraries := sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))):
        yield Finding("a box's clock is an hour ahead: not tried, it needs libfaketime", True, "")
        return
    name = "ahead"
    before = chaos.plant.until_inspected()
    since_utc = time.time()
    # Without the command `faketime`: it would be what is killed, and the box go on.
    clock = [f"LD_PRELOAD={libraries[0]}", "FAKETIME=+3600s", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    chaos.plant.bring_back(name, "env", *clock)
    time.sleep(10.0)
    yield no_moves("a box comes whose clock is an hour ahead", chaos.moved(since_utc))
    giver = _busiest(chaos, before)
    own = [camera for camera, at in before.items() if at == giver and camera not in chaos.plant.only]
    chaos.plant.operator("drain", giver)
    chaos.plant.until_inspected()
    given = [camera for camera, at in chaos.plant.owners().items() if at == name]
    chaos.plant.operator("drain", giver, "--undo")
    yield Finding("it is given cameras as others are", bool(given), f"{len(given)} of {len(own)}")
    at_utc = chaos.plant.kill(name)
    heirs = chaos.taken_over(given, name, at_utc)
    took_s = max((one.inspected_utc or 0.0) - at_utc for one in heirs.values())
    yield Finding(f"and when it dies others have them within {WORST_S:g} s", took_s <= WORST_S, f"{took_s:.1f} s")
    yield no_moves("it dies", chaos.moved(at_utc, given))


def older_version(program: Path) -> Trial:
    """Return a trial in which a box of another version comes, takes cameras over, leads, and dies."""

    def older(chaos: Chaos) -> Iterator[Finding]:
        plant, name = chaos.plant, "a0"  # first in the order of names, so that it leads next
        before = plant.until_inspected()
        since_utc = time.time()
        plant.bring_back(name, program=program)
        version = plant.view().reports[name].version
        time.sleep(10.0)
        yield no_moves(f"a box of version {version} comes", chaos.moved(since_utc))
        killed: list[str] = []
        while (leader := plant.view().leader) != name and len(killed) < len(plant.nodes):
            killed.append(leader)
            plant.kill(leader)
            wait_until(lambda: plant.view().leader not in {"", *killed}, PATIENCE_S, "another one leads")
        owners = plant.until_inspected([camera for camera in plant.cameras if camera not in plant.only])
        kept = [camera for camera, at in before.items() if at not in killed]
        stayed = [camera for camera in kept if owners.get(camera) == before[camera]]
        words = f"{plant.view().leader} leads, {len(stayed)} of {len(kept)} stayed"
        yield Finding("boxes die until it leads, and no camera of a living box moves", len(stayed) == len(kept), words)
        for one in killed:
            plant.bring_back(one)
        given = sorted(camera for camera, at in plant.owners().items() if at == name)
        at_utc = plant.kill(name)
        heirs = chaos.taken_over(given, name, at_utc)
        took_s = max(((one.inspected_utc or 0.0) - at_utc for one in heirs.values()), default=0.0)
        words = f"{len(given)} cameras, {took_s:.1f} s"
        yield Finding(f"it dies: inspected elsewhere within {WORST_S:g} s", took_s <= WORST_S, words)

    return older


#: In an order in which the cameras are where the next one needs them.
TRIALS: Sequence[Trial] = (
    part_a_node,
    stop_for_2_s,
    stop_for_5_s,
    kill_the_only_one,
    kill_the_leader,
    kill_each_server,
    kill_two_servers,
    wipe_all_servers,
    two_leaders,
    lose_packets,
    clock_an_hour_ahead,
    drain_every_node,
)
QUICK: Sequence[Trial] = (part_a_node, stop_for_5_s, wipe_all_servers, two_leaders)
