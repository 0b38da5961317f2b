# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who lives by the observer's clock, and when that clock has nothing to say."""

from __future__ import annotations

from vision_line.fleet.membership import ECHO_S, HEARTBEAT_S, LEASE_S, Membership


class Observer:
    """The node "me", with heartbeats of itself and of others as time passes."""

    def __init__(self, *others: str) -> None:
        self.members = Membership("me")
        self.now_s = 0.0
        self.revision = 0
        self.beating = {"me", *others}
        self.beat()

    def beat(self) -> None:
        """Let the watch bring a heartbeat of everyone that beats."""
        for name in sorted(self.beating):
            self.revision += 1
            self.members.heard(name, self.revision, self.now_s)

    def run(self, seconds: float) -> None:
        """Let time pass; the store has nothing that the watch did not bring."""
        for _ in range(round(seconds / HEARTBEAT_S)):
            self.now_s += HEARTBEAT_S
            self.beat()
            for name in self.members.tick(self.now_s):
                self.members.confirm(name, 0, self.now_s)


def test_a_silent_node_is_lost_after_its_lease() -> None:
    """Not before."""
    seen = Observer("a", "b")
    seen.run(6)
    seen.beating.discard("b")
    seen.run(LEASE_S)
    assert seen.members.living() == {"me", "a", "b"}
    seen.run(HEARTBEAT_S)

    assert seen.members.living() == {"me", "a"}
    assert set(seen.members.lost()) == {"b"}


def test_who_does_not_hear_itself_counts_nobody_out() -> None:
    """The watch or the store is silent, not the others; then everyone has a whole lease again."""
    seen = Observer("a")
    seen.run(6)
    seen.beating = {"a"}
    seen.run(3)
    seen.beating = set()
    seen.run(30)
    assert seen.members.living() == {"me", "a"}
    assert not seen.members.has_heard_all(seen.now_s)
    seen.beating = {"me"}
    seen.run(LEASE_S)
    assert seen.members.living() == {"me", "a"}
    seen.run(2 * HEARTBEAT_S)

    assert seen.members.living() == {"me"}


def test_a_pause_of_the_observer_is_a_gap() -> None:
    """What waits in the watch when it wakes up is no reason to count anybody out."""
    seen = Observer("a")
    seen.run(6)
    seen.now_s += 60.0
    seen.revision += 1
    seen.members.heard("me", seen.revision, seen.now_s)

    assert seen.members.tick(seen.now_s) == []
    assert seen.members.living() == {"me", "a"}


def test_the_store_is_asked_before_a_node_is_lost() -> None:
    """The watch may have lost what it said."""
    seen = Observer("a")
    seen.run(6)
    last = seen.revision
    for step in range(1, 6):
        seen.now_s += HEARTBEAT_S
        seen.members.heard("me", last + step, seen.now_s)
    assert seen.members.tick(seen.now_s) == ["a"]
    assert seen.members.tick(seen.now_s) == []  # once a heartbeat
    seen.members.confirm("a", last + 20, seen.now_s)

    assert seen.members.living() == {"me", "a"}


def test_a_known_revision_is_no_sign_of_life() -> None:
    """A watch that begins anew brings what stands there, of the dead too."""
    seen = Observer("a")
    seen.run(6)
    last = seen.revision
    seen.beating = {"me"}
    for _ in range(10):
        seen.run(HEARTBEAT_S)
        seen.members.heard("a", last - 1, seen.now_s)  # in the order of names, "a" came before "me"

    assert seen.members.living() == {"me"}


def test_who_says_goodbye_is_not_lost() -> None:
    """It is gone at once, and no breaker counts it."""
    seen = Observer("a")
    seen.run(6)
    seen.beating = {"me"}
    seen.members.heard("a", 1000, seen.now_s, has_left=True)

    assert seen.members.living() == {"me"}
    assert not seen.members.lost()
    assert ECHO_S > 2 * HEARTBEAT_S  # one heartbeat may be lost
