# SPDX-License-Identifier: AGPL-3.0-or-later
"""Baselines as entries of the reviews' journal: what was approved comes back to the last digit, and nothing else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.desk.charts.baselines import read_baselines
from vision_line.errors import RunError
from vision_line.quality import Baseline, ChartKind, ControlLimits
from vision_line.records.side_chain import chain_problem
from vision_line.records.side_journal import append
from vision_line.reviews.baseline_entries import (
    KIND,
    ApprovedBaseline,
    ChartScope,
    ExcludedPeriod,
    approve,
    history,
    in_force,
    withdraw,
)
from vision_line.reviews.reviews_file import reading, writing

POSITIVE = st.floats(1e-6, 1e6)
NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
SCOPES = st.tuples(st.sampled_from(["hour", "shift", "day"]), NAMES, NAMES, st.booleans()).map(
    lambda said: ChartScope(said[0], said[1] * said[3], said[1] * (not said[3]), said[2])
)


@st.composite
def baselines(draw: st.DrawFn) -> ApprovedBaseline:
    first = draw(st.floats(0, 1e9))
    length = draw(st.floats(1.0, 1e7))
    return ApprovedBaseline(
        scope=draw(SCOPES),
        baseline=Baseline(
            limits=ControlLimits(ChartKind.RATE, draw(POSITIVE), draw(POSITIVE)),
            periods=draw(st.integers(20, 2000)),
            first_utc=first,
            last_utc=first + length,
            approved_by="anna",
            approved_utc=first + length + draw(st.floats(0, 1e6)),
        ),
        events=draw(st.integers(1, 10**6)),
        inspected_s=draw(POSITIVE),
        excluded=(ExcludedPeriod(first, first + 1.0, draw(NAMES)),) * draw(st.integers(0, 2)),
        model_sha256="1" * 64,
        settings_sha256="2" * 64,
    )


@settings(max_examples=60, deadline=None)
@given(made=st.lists(baselines(), min_size=1, max_size=4), gone=st.integers(0, 3))
def test_what_was_approved_last_holds_until_it_is_withdrawn(made: list[ApprovedBaseline], gone: int) -> None:
    """Each scope for itself, every figure as it was, and the chain holds."""
    with tempfile.TemporaryDirectory() as folder, writing(Path(folder)) as connection:
        numbers = [approve(connection, one) for one in made]
        expected = {one.scope: number for one, number in zip(made, numbers, strict=True)}
        if gone < len(made):
            assert withdraw(connection, made[gone].scope, "berta", "a new lamp")
            assert not withdraw(connection, made[gone].scope, "berta", "again")
            del expected[made[gone].scope]
        found = in_force(connection)
        assert {scope: one.number for scope, one in found.items()} == expected
        for one, number in zip(made, numbers, strict=True):
            if expected.get(one.scope) == number:
                assert found[one.scope].baseline == one.baseline
                assert tuple(found[one.scope].excluded) == one.excluded
                assert (found[one.scope].events, found[one.scope].inspected_s) == (one.events, one.inspected_s)
        assert chain_problem(connection) == ""


@given(one=SCOPES, other=SCOPES)
def test_scopes_that_differ_have_keys_that_differ(one: ChartScope, other: ChartScope) -> None:
    """Whatever a station is called."""
    assert (one == other) == (one.key == other.key)


def _said(body: object) -> dict[str, object]:
    assert isinstance(body, dict)
    return body


def test_each_entry_has_before_and_after(tmp_path: Path) -> None:
    limits = ControlLimits(ChartKind.RATE, 12.0)
    scope = ChartScope("hour", "cam01")
    made = ApprovedBaseline(scope, Baseline(limits, 24, 0.0, 9.0, "anna", 10.0), 288, 86_400.0, (), "a", "b")
    with writing(tmp_path) as connection:
        approve(connection, made)
        withdraw(connection, scope, "berta", "another product")
    with reading(tmp_path) as connection:
        assert connection is not None
        withdrawn, approved = history(connection, scope)
    assert approved.key == withdrawn.key == "hour/camera/cam01/*"
    assert (approved.body["by"], approved.body["before"]) == ("anna", None)
    assert {"center": 12.0, "sigma_z": 1.0, "events": 288}.items() <= _said(approved.body["after"]).items()
    assert withdrawn.body["before"] == approved.body["after"]
    assert (withdrawn.body["by"], withdrawn.body["reason"], withdrawn.body["after"]) == (
        *("berta", "another product"),
        None,
    )


def test_an_entry_of_somebody_else_is_named(tmp_path: Path) -> None:
    with writing(tmp_path) as connection:
        append(connection, KIND, "hour/camera/cam01/*", {"by": "eve", "before": None, "after": {"center": "much"}})
    with pytest.raises(RunError, match="entry 1"):
        read_baselines(tmp_path)
