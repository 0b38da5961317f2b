# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tiles wait where the run needs the processor, and only there."""

from __future__ import annotations

import pytest

from vision_line.desk.live.tile_budget import BUSY_PERCENT, BUSY_SHARE, TileBudget


def test_a_run_that_leaves_enough_holds_nothing_up() -> None:
    budget = TileBudget(cores=2)
    budget.note_run(BUSY_PERCENT)
    budget.spend(0.5, now_s=10.0)
    assert budget.wait_s(10.0) == 0.0


def test_beside_a_busy_run_tiles_take_their_share_of_all_cores() -> None:
    """A tile of 18 ms on two cores is followed by the next after 1.8 s; on 16 cores after 0.23 s."""
    for cores in (2, 16):
        budget = TileBudget(cores)
        budget.note_run(95.0)
        now_s = spent_s = 0.0
        while now_s < 60.0:
            now_s += budget.wait_s(now_s) + 0.018
            spent_s += 0.018
            budget.spend(0.018, now_s)
        assert spent_s / now_s == pytest.approx(BUSY_SHARE * cores, rel=0.2)


def test_what_the_run_leaves_again_is_noticed() -> None:
    budget = TileBudget(cores=1)
    budget.note_run(95.0)
    budget.spend(0.02, now_s=10.0)
    assert budget.wait_s(10.0) == pytest.approx(4.0)
    budget.note_run(30.0)
    assert budget.wait_s(10.0) == 0.0
