# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole protocol in virtual time: what moves when nodes, watches, the store and leaders fail, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.fakes.fleet_world import World

from vision_line.fleet.fleet_member import Claim
from vision_line.fleet.fleet_plan import FleetPlan
from vision_line.fleet.node_report import NodeReport

#: A lease, the pause in which others may be lost with a node, a plan's way, and a camera that connects.
TAKEN_OVER_S = 6.0


def settled(cameras: int = 20, nodes: int = 5, *, lanes: int = 8, sessions: int = 2) -> World:
    """Return a plant whose cameras are all inspected."""
    world = World(cameras, nodes, lanes=lanes, sessions=sessions)
    world.run(12)
    assert world.inspected() == set(world.cameras)
    world.longest_away_s.clear()
    return world


def owner_of(world: World) -> dict[str, str]:
    """Return the only owner of each camera."""
    owners = world.owners()
    assert all(len(names) == 1 for names in owners.values()), owners
    return {name: names[0] for name, names in owners.items()}


def test_a_plant_begins() -> None:
    """Within some seconds, spread over all nodes."""
    world = World(20, 5, lanes=8)
    world.run(7)

    assert world.inspected() == set(world.cameras)
    assert sorted(map(len, (node.opened for node in world.nodes.values()))) == [4, 4, 4, 4, 4]


@pytest.mark.parametrize("leads", [True, False])
def test_cameras_of_a_killed_node_are_inspected_elsewhere(leads: bool) -> None:
    """In the bound, also if it led, and no other camera moves."""
    world = settled()
    before = owner_of(world)
    victim = world.leader() if leads else next(name for name in world.nodes if name != world.leader())
    world.kill(victim)
    world.run(TAKEN_OVER_S + 2 * leads)

    assert world.inspected() == set(world.cameras)
    assert max(world.longest_away_s.values()) <= TAKEN_OVER_S + leads
    after = owner_of(world)
    assert {name: at for name, at in after.items() if before[name] != victim} == {
        name: at for name, at in before.items() if at != victim
    }
    causes = {one.cause for name, one in plan_of(world).cameras.items() if before[name] == victim}
    assert causes == {"node:lost"}


def plan_of(world: World) -> FleetPlan:
    """Return the plan that stands in the store."""
    return FleetPlan.model_validate_json(world.store.entries["plan"].value)


def test_a_pause_of_two_seconds_moves_nothing() -> None:
    """Of any node, also the leader."""
    world = settled()
    before = owner_of(world)
    for name in list(world.nodes):
        world.nodes[name].paused_until_s = world.now_s + 2.0
        world.run(6)

    assert owner_of(world) == before
    assert not world.broken


def test_a_node_that_wakes_up_drops_its_cameras() -> None:
    """After 5 s they are elsewhere, and it does not take them back."""
    world = settled()
    before = owner_of(world)
    zombie = world.nodes["n1"]
    zombie.paused_until_s = world.now_s + 5.0
    world.run(5.5)
    world.run(3)

    assert zombie.opened == {}
    assert {name: at for name, at in owner_of(world).items() if before[name] != "n1"} == {
        name: at for name, at in before.items() if at != "n1"
    }
    assert not world.broken


def test_without_the_store_everything_goes_on() -> None:
    """However long it is away; and when it is back, nobody was lost."""
    world = settled()
    before = owner_of(world)
    world.store.is_there = False
    world.run(30)
    assert owner_of(world) == before
    world.store.is_there = True
    world.run(12)

    assert owner_of(world) == before
    assert not world.broken
    assert not world.longest_away_s


def test_a_store_that_lost_everything_gets_its_plan_back() -> None:
    """From what the nodes say; none moves."""
    world = settled()
    before, epoch = owner_of(world), plan_of(world).epoch
    world.store.is_there = False
    world.run(4)
    world.store.wipe()
    world.store.is_there = True
    world.run(15)

    assert owner_of(world) == before
    assert plan_of(world).epoch > epoch
    assert {name: one.node for name, one in plan_of(world).cameras.items()} == before
    assert not world.broken


def test_an_unreadable_plan_is_made_anew() -> None:
    """From what the nodes say as well."""
    world = settled()
    before = owner_of(world)
    world.deliver(world.store.put("plan", b'{"version": 2}'))
    world.kill(world.leader())  # whoever follows finds it
    world.run(12)

    after = owner_of(world)
    assert {name for name in after if after[name] != before[name]} == {
        name for name, at in before.items() if at not in world.nodes
    }


def test_a_second_leader_changes_nothing() -> None:
    """Somebody writes the leader's key over: of two plans for one revision one is refused."""
    world = settled()
    before = owner_of(world)
    other = next(node for name, node in world.nodes.items() if name != world.leader())
    for _ in range(5):
        claim = Claim(node=other.name, life=other.member.life)
        world.deliver(world.store.put("leader", claim.to_bytes()))
        world.run(2)

    assert owner_of(world) == before
    assert not world.broken


def test_half_a_plant_gone_at_once_is_held_for() -> None:
    """For three leases nothing moves; nodes that come back keep theirs."""
    world = settled(nodes=6, lanes=20)
    before = owner_of(world)
    for name in ("n0", "n1", "n2"):
        world.nodes[name].is_cut = True
    world.run(10)
    assert owner_of(world) == before
    for node in world.nodes.values():
        node.is_cut = False
    world.run(10)

    assert owner_of(world) == before


def test_then_the_plant_goes_on_with_what_is_left() -> None:
    """Nodes that stay away are taken for lost."""
    world = settled(nodes=6, lanes=20)
    for name in ("n0", "n1", "n2"):
        world.kill(name)
    world.run(20)

    assert world.inspected() == set(world.cameras)


@pytest.mark.parametrize(("sessions", "most_away_s"), [(2, 0.0), (1, 2.5)])
def test_draining_every_node_in_turn(sessions: int, most_away_s: float) -> None:
    """With two sessions nothing is missed; with one the gap is short, and has its cause."""
    world = settled(sessions=sessions, lanes=10)
    causes = set()
    for name in list(world.nodes):
        world.nodes[name].is_draining = True
        world.run(10)
        causes |= {one.cause for one in plan_of(world).cameras.values()}
        assert not world.nodes[name].opened
        world.kill(name)
        world.run(1)
        world.start(name)
        world.run(8)

    assert max(world.longest_away_s.values(), default=0.0) <= most_away_s
    assert causes <= ({"node:moving"} if sessions == 1 else {""}) | {""}
    assert world.inspected() == set(world.cameras)


def test_two_processes_of_one_name_notice_each_other() -> None:
    """Each would renew the other's lease; when one has gone, the other one is alone again."""
    world = settled(nodes=3)
    first = world.nodes["n1"]
    second = world.start("n1")
    world.nodes["other"] = first
    world.run(3)

    assert first.member.doubles == second.member.life
    assert NodeReport.model_validate_json(first.member.heartbeat(NodeReport()).value).doubled

    world.kill("n1")
    world.run(5)
    assert first.member.doubles == ""


class Plant(RuleBasedStateMachine):
    """Five nodes with room for the loss of any two; whatever breaks, cameras of nodes that are well stay."""

    @initialize(seed=st.integers(0, 2**16), sessions=st.integers(1, 2))
    def begin(self, seed: int, sessions: int) -> None:
        """Start and settle."""
        self.world = World(12, 5, lanes=8, seed=seed, sessions=sessions)
        self.world.run(12)

    @rule(name=st.sampled_from(["n0", "n1", "n2", "n3", "n4"]))
    def kill_or_start(self, name: str) -> None:
        """End a process, or start it anew."""
        if name in self.world.nodes and len(self.world.nodes) > 2:
            self.world.kill(name)
        elif name not in self.world.nodes:
            self.world.start(name)
            self.world.disturb()

    @rule(name=st.sampled_from(["n0", "n1", "n2", "n3", "n4"]), seconds=st.sampled_from([0.5, 1.5, 2.0, 5.0]))
    def pause(self, name: str, seconds: float) -> None:
        """Stop a process for a while."""
        if name in self.world.nodes:
            self.world.nodes[name].paused_until_s = self.world.now_s + seconds
            self.world.disturb()

    @rule(name=st.sampled_from(["n0", "n1", "n2", "n3", "n4"]))
    def cut_or_mend(self, name: str) -> None:
        """Part a node from the store, or join it again."""
        if name in self.world.nodes:
            node = self.world.nodes[name]
            node.is_cut = not node.is_cut
            self.world.disturb()

    @rule(name=st.sampled_from(["n0", "n1", "n2", "n3", "n4"]))
    def silence(self, name: str) -> None:
        """Let a watch fall silent; it does not say so."""
        if name in self.world.nodes:
            self.world.nodes[name].watch.is_silent = True
            self.world.disturb()

    @rule(lossy=st.sampled_from([0.0, 0.1, 0.3]), unknown=st.sampled_from([0.0, 0.2]))
    def weather(self, lossy: float, unknown: float) -> None:
        """Let watches lose a share of what comes, and requests their answers."""
        self.world.lossy, self.world.unknown_outcomes = lossy, unknown
        self.world.disturb()

    @rule(wiped=st.booleans(), seconds=st.sampled_from([1.0, 4.0]))
    def lose_store(self, wiped: bool, seconds: float) -> None:
        """Take the store away and bring it back, perhaps empty."""
        self.world.store.is_there = False
        self.world.run(seconds)
        if wiped:
            self.world.store.wipe()
        self.world.store.is_there = True
        self.world.disturb()

    @rule(name=st.sampled_from(["n0", "n1", "n2", "n3", "n4"]))
    def usurp(self, name: str) -> None:
        """Write the leader's key for another node."""
        if name in self.world.nodes and self.world.store.is_there:
            claim = Claim(node=name, life=self.world.nodes[name].member.life)
            self.world.deliver(self.world.store.put("leader", claim.to_bytes()))
            self.world.disturb()

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 6.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(seconds)

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def nothing_moves_that_is_well(self) -> None:
        """A camera of a node that was never away for two seconds stays with it."""
        assert not self.world.broken

    def teardown(self) -> None:
        """Mend everything: in the end each camera is inspected, by one node."""
        if not hasattr(self, "world"):
            return
        for node in self.world.nodes.values():
            node.is_cut = False
        self.world.lossy = self.world.unknown_outcomes = 0.0
        self.world.disturb()
        self.world.run(25)
        assert not self.world.broken
        assert self.world.inspected() == set(self.world.cameras)
        owner_of(self.world)


TestPlant = Plant.TestCase
TestPlant.settings = settings(max_examples=20, stateful_step_count=15, phases=(Phase.explicit, Phase.generate))
