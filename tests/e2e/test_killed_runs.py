# SPDX-License-Identifier: AGPL-3.0-or-later
"""`kill -9` of whole runs: a few of those that `python -m benchmarks.kills` makes a hundred of."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from benchmarks.kills import INSPECTING, kill_again_and_again, prepare
from tests.fakes.ports import free_port

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(900)
def test_what_was_committed_survives_a_kill_of_the_whole_run(tmp_path: Path) -> None:
    """At a random moment; the records hold with their images then, and when the next run has started."""
    prepare(tmp_path, free_port())
    states = kill_again_and_again(tmp_path, 4, random.Random(2))

    assert states[INSPECTING]  # one is waited for, by what this seed draws
