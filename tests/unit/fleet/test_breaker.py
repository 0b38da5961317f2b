# SPDX-License-Identifier: AGPL-3.0-or-later
"""When many nodes are gone at once: held, for a while, once."""

from __future__ import annotations

import pytest

from vision_line.fleet.breaker import HELD_LEASES, Breaker
from vision_line.fleet.membership import LEASE_S


def nodes(count: int) -> frozenset[str]:
    """Return some names."""
    return frozenset(f"n{number}" for number in range(count))


@pytest.mark.parametrize(
    ("total", "lost", "holds"), [(2, 1, False), (3, 1, False), (3, 2, True), (6, 2, False), (6, 3, True), (25, 9, True)]
)
def test_more_than_a_third_and_at_least_two(total: int, lost: int, holds: bool) -> None:
    """One box of two may die like one of a hundred."""
    breaker = Breaker()
    gone = dict.fromkeys(nodes(lost), 10.0)
    breaker.note(10.0, nodes(total) - gone.keys(), gone)

    assert breaker.is_holding is holds


def test_losses_one_after_the_other_are_no_network() -> None:
    """In a lease each."""
    breaker = Breaker()
    lost = {"n0": 0.0, "n1": 0.0 + LEASE_S + 0.1}
    breaker.note(LEASE_S + 0.1, frozenset({"n2"}), lost)

    assert not breaker.is_holding


def test_it_goes_on_after_three_leases() -> None:
    """And does not hold for the same nodes again."""
    breaker = Breaker()
    lost = dict.fromkeys(("n0", "n1"), 0.0)
    breaker.note(0.0, frozenset({"n2"}), lost)
    breaker.note(HELD_LEASES * LEASE_S - 0.1, frozenset({"n2"}), lost)
    assert breaker.is_holding
    breaker.note(HELD_LEASES * LEASE_S + 0.1, frozenset({"n2"}), lost)
    breaker.note(HELD_LEASES * LEASE_S + 0.2, frozenset({"n2"}), lost)

    assert not breaker.is_holding


def test_when_nodes_come_back_the_others_get_a_lease() -> None:
    """A network comes back for one after the other."""
    breaker = Breaker()
    lost = dict.fromkeys(("n0", "n1"), 0.0)
    breaker.note(0.0, frozenset({"n2"}), lost)
    back = {"n1": 0.0}
    breaker.note(1.0, frozenset({"n0", "n2"}), back)
    assert breaker.is_holding
    breaker.note(1.0 + LEASE_S, frozenset({"n0", "n2"}), back)

    assert not breaker.is_holding
