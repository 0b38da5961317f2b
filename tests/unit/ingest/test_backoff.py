# SPDX-License-Identifier: AGPL-3.0-or-later
"""Waits between attempts: bounded, jittered, quick for a camera that has run, slow for what no retry cures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.errors import SLOW_RETRY_CODES, SourceErrorCode
from vision_line.ingest.lifecycle import HEALTHY_AFTER_S, QUICK_CAP_S, SLOW_CAP_S, SLOW_FLOOR_S, Backoff

codes = st.sampled_from(SourceErrorCode)
chances = st.floats(0.0, 1.0)


@given(st.integers(0, 10_000), st.booleans(), codes, chances)
def test_a_wait_is_within_its_cap(failures: int, has_run: bool, code: SourceErrorCode, chance: float) -> None:
    """4 s for a camera that has run, 30 s otherwise and for errors that no quick retry cures."""
    wait_s = Backoff(failures, has_run).wait_s(code, chance)
    quick = has_run and code not in SLOW_RETRY_CODES
    assert 0.0 <= wait_s <= (QUICK_CAP_S if quick else SLOW_CAP_S)


def test_limits_double() -> None:
    """At the worst chance the waits of a camera that has never run are 0.5, 1, 2 ... 30 s."""
    backoff = Backoff()
    waits = []
    for _ in range(8):
        backoff = backoff.after_failure()
        waits.append(backoff.wait_s(SourceErrorCode.REFUSED, 1.0))
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@given(st.integers(1, 100), chances, chances)
def test_jitter_is_full(failures: int, one: float, other: float) -> None:
    """The wait is the chance's share of the limit, from nothing to all of it."""
    backoff = Backoff(failures, has_run=True)
    limit_s = backoff.wait_s(SourceErrorCode.TIMEOUT, 1.0)
    assert backoff.wait_s(SourceErrorCode.TIMEOUT, one) == pytest.approx(limit_s * one)
    assert abs(backoff.wait_s(SourceErrorCode.TIMEOUT, other)) <= limit_s


def test_a_wrong_password_is_never_tried_in_a_storm() -> None:
    """Slow codes wait at least a second whatever the chance."""
    for code in SLOW_RETRY_CODES:
        assert Backoff(1, has_run=True).wait_s(code, 0.0) == SLOW_FLOOR_S


def test_a_minute_of_health_clears_the_memory() -> None:
    """A connection that lasted is forgiven its past; a short one is not."""
    backoff = Backoff(failures=6, has_run=False)
    assert backoff.after_run(HEALTHY_AFTER_S) == Backoff(0, has_run=True)
    assert backoff.after_run(HEALTHY_AFTER_S - 1) == Backoff(6, has_run=True)
    assert backoff.after_run(0.0) == backoff
