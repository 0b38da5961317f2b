# SPDX-License-Identifier: AGPL-3.0-or-later
"""Baselines of p charts come back to the last digit, beside those of u charts, and keys tell lanes apart."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.desk.part_charts.part_baselines import read_part_baselines, watched
from vision_line.errors import RunError
from vision_line.quality import Baseline, ChartKind, ControlLimits
from vision_line.records.side_chain import chain_problem
from vision_line.records.side_journal import append
from vision_line.reviews import baseline_entries
from vision_line.reviews.baseline_entries import ExcludedPeriod
from vision_line.reviews.part_baseline_entries import (
    KIND,
    ApprovedPartBaseline,
    PartScope,
    approve,
    history,
    in_force,
    withdraw,
)
from vision_line.reviews.reviews_file import writing

NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
SCOPES = st.builds(PartScope, st.sampled_from(["hour", "shift", "day", "lot"]), NAMES, NAMES)


def made(scope: PartScope, share: float = 0.02, sigma_z: float = 1.0) -> ApprovedPartBaseline:
    """Return a baseline of a day."""
    limits = ControlLimits(ChartKind.SHARE, share, sigma_z)
    excluded = (ExcludedPeriod(3600.0, 7200.0, "a pallet fell"),)
    baseline = Baseline(limits, 24, 0.0, 86_400.0, "anna", 90_000.0)
    return ApprovedPartBaseline(scope, baseline, 33, 1656, 7, excluded, "1" * 64, "2" * 64)


@settings(max_examples=15, deadline=None)
@given(scopes=st.lists(SCOPES, min_size=1, max_size=4), share=st.floats(1e-6, 0.999), sigma_z=st.floats(0.1, 9.0))
def test_what_was_approved_last_holds_until_it_is_withdrawn(
    scopes: list[PartScope], share: float, sigma_z: float
) -> None:
    with tempfile.TemporaryDirectory() as folder, writing(Path(folder)) as connection:
        numbers = {scope: approve(connection, made(scope, share, sigma_z)) for scope in scopes}
        found = in_force(connection)
        assert {scope: one.number for scope, one in found.items()} == numbers
        assert found[scopes[0]].baseline == made(scopes[0], share, sigma_z).baseline
        assert tuple(found[scopes[0]].excluded) == made(scopes[0]).excluded
        assert withdraw(connection, scopes[0], "berta", "a new lamp")
        assert not withdraw(connection, scopes[0], "berta", "again")
        assert scopes[0] not in in_force(connection)
        assert history(connection, scopes[0])[0].body["by"] == "berta"
        assert baseline_entries.in_force(connection) == {}
        assert chain_problem(connection) == ""


@given(one=SCOPES, other=SCOPES)
def test_scopes_that_differ_have_keys_that_differ(one: PartScope, other: PartScope) -> None:
    """Whatever a lane is called."""
    assert (one == other) == (one.key == other.key)


def test_of_several_periods_the_newest_is_watched(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        for period, share in (("hour", 0.02), ("shift", 0.03)):
            approve(connection, made(PartScope(period, "a"), share))
    (one,) = watched(read_part_baselines(tmp_path))
    assert one.baseline.limits.center == 0.03
    assert one.parts_per_s == 1656 / (86_400.0 - 3600.0)


def test_an_entry_of_somebody_else_is_named(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        append(connection, KIND, "hour/lane/a/*", {"by": "eve", "before": None, "after": {"center": 2.0}})
    with pytest.raises(RunError, match="entry 1"):
        read_part_baselines(tmp_path)
