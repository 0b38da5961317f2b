# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole protocol in virtual time: what moves when nodes, watches, the store and leaders fail, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.fakes.fleet_world import STEP_S, World

from vision_line.fleet.coordination import StoreEntry
from vision_line.fleet.fleet_member import ACCEPTED_S, Claim, FleetMember
from vision_line.fleet.fleet_plan import FleetPlan
from vision_line.fleet.node_report import CameraReport, NodeReport

#: A lease, the pause in which others may be lost with a node, a plan's way, and a camera that connects.
TAKEN_OVER_S = 6.0


def settled(cameras: int = 20, nodes: int = 5, *, lanes: int = 8, sessions: int = 2, seed: int = 0) -> World:
    """Return a plant whose cameras are all inspected."""
    world = World(cameras, nodes, lanes=lanes, sessions=sessions, seed=seed)
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


@pytest.mark.parametrize("outage_s", [600.0, 20.0])
def test_after_a_power_cut_it_is_known_since_when(outage_s: float) -> None:
    """What stands in the store of a box that is still off is no sign of its life now: it is as old as it is."""
    world = settled(cameras=6, nodes=2)
    lost = dict(world.nodes["n0"].opened)
    cut_s = world.now_s
    for name in list(world.nodes):
        world.kill(name)
    world.now_s += outage_s
    back = world.start("n1")
    world.run(8)

    assert back.opened.keys() == world.cameras.keys()
    for name in lost:
        since_s = back.absent_since_s[name]
        assert since_s is not None
        assert cut_s - 1.0 <= since_s <= cut_s + 0.5


def test_what_was_said_while_nobody_listened_is_as_old_as_it_is() -> None:
    """A node that was cut off hears late what another one said last before it died."""
    world = settled(cameras=6, nodes=2)
    listener, other = world.nodes["n1"], world.nodes["n0"]
    lost = dict(other.opened)
    listener.is_cut = True
    world.run(3)
    died_s = world.now_s
    world.kill("n0")
    world.run(30)
    listener.is_cut = False
    world.run(10)

    for name in lost:
        since_s = listener.absent_since_s[name]
        assert since_s is not None
        assert died_s - 1.0 <= since_s <= died_s + 0.5


def test_a_store_that_does_not_date_its_values_says_nothing_of_the_time_before() -> None:
    """Not that it was just now."""
    member, entry = FleetMember("n1", "life"), NodeReport(cameras={"c": CameraReport(epoch=1, inspected=True)})
    member.saw(StoreEntry("node.n0", entry.to_bytes(), 1), 100.0)
    member.saw(StoreEntry("node.n1", member.heartbeat(NodeReport()).value, 2), 101.0)
    assert member.last_inspected_s("c") is None
    member.saw(StoreEntry("node.n0", entry.to_bytes(), 3), 102.0)

    assert member.last_inspected_s("c") == 102.0


@pytest.mark.parametrize("seed", range(4))
def test_who_has_an_older_plant_than_the_plan_does_not_lead(seed: int) -> None:
    """It could not plan: the cameras of a leader that dies would be inspected by nobody."""
    world = settled(nodes=4, lanes=24, seed=seed)
    leader, *old, new = sorted(world.nodes, key=lambda name: (name != world.leader(), name))
    world.apply(20, without=old, why="it cannot be used here")
    world.run(3)
    assert plan_of(world).config_serial == 2
    world.kill(leader)
    world.run(TAKEN_OVER_S + 2)

    assert world.leader() == new
    assert world.inspected() == set(world.cameras)


@pytest.mark.parametrize("why", ["it cannot be used here", ""])
@pytest.mark.parametrize("leads", [True, False])
def test_who_goes_on_with_an_older_plant_is_given_nothing_new(leads: bool, why: str) -> None:
    """It does not know those cameras; it keeps what it has, and nobody else's move. If it led, another one does.

    One that does not say why has some seconds to accept it.
    """
    world = settled(cameras=12, nodes=4, lanes=20)
    before = owner_of(world)
    old = world.leader() if leads else next(name for name in world.nodes if name != world.leader())
    world.apply(20, without={old}, why=why)
    world.run(12 if why else 12 + ACCEPTED_S)

    after = owner_of(world)
    assert {name: at for name, at in after.items() if name in before} == before
    assert old not in {at for name, at in after.items() if name not in before}
    assert world.inspected() == set(world.cameras)
    assert not world.broken

    world.kill(next(name for name in world.nodes if name != old))
    world.run(TAKEN_OVER_S + 2)
    assert {name for name, at in owner_of(world).items() if at == old} == {n for n, at in before.items() if at == old}
    assert world.inspected() == set(world.cameras)


def test_boxes_that_accept_a_plant_late_keep_their_cameras() -> None:
    """One after the other, while those of a box that died are being opened: nobody goes on without it yet."""
    world = settled(cameras=12, nodes=4)
    before = owner_of(world)
    *names, dead = sorted(world.nodes, key=lambda name: name != world.leader())
    world.kill(dead)
    while not all(one.cause for name, one in plan_of(world).cameras.items() if before[name] == dead):
        world.run(STEP_S)
    planned = {name: one.node for name, one in plan_of(world).cameras.items()}
    world.apply(16, without=names)
    for name in names:
        world.nodes[name].take_plant()
        world.run(2)
    world.run(8)

    assert {name: at for name, at in owner_of(world).items() if name in planned} == planned
    assert world.inspected() == set(world.cameras)
    assert not world.broken


def test_a_leader_that_hears_nothing_lets_another_one_lead() -> None:
    """What it writes is taken, and it would lead for ever without seeing who dies."""
    world = settled()
    deaf = world.leader()
    world.nodes[deaf].is_deaf = True
    world.run(12)
    assert world.leader() not in {"", deaf}
    world.kill(next(name for name in world.nodes if name not in {deaf, world.leader()}))
    world.run(TAKEN_OVER_S)

    assert world.inspected() == set(world.cameras)
    assert not world.broken


def test_what_nobody_else_can_take_waits_for_its_node() -> None:
    """One that was only cut off goes on, without closing a camera; the plan says meanwhile that nobody has it."""
    world = settled(cameras=14, nodes=2)
    cut = next(node for name, node in world.nodes.items() if name != world.leader())
    before = dict(cut.opened)
    cut.is_cut = True
    world.run(10)
    waiting = {name: one for name, one in plan_of(world).cameras.items() if one.node == cut.name}
    assert waiting.keys() == before.keys() == plan_of(world).left_out.keys()
    assert {one.cause for one in waiting.values()} == {"node:lost"}
    cut.is_cut = False
    world.run(10)

    assert cut.opened == before
    assert not plan_of(world).left_out
    cut.is_cut = True
    world.run(10)
    world.start("n9")
    world.run(10)
    assert {at for name in before for at in world.owners()[name]} == {cut.name, "n9"}


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
