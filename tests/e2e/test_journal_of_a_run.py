# SPDX-License-Identifier: AGPL-3.0-or-later
"""The journal of real runs: killed at random moments it holds each time; what was configured is in it."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.conftest import LineRun
from tests.fakes.waiting import wait_for
from typer.testing import CliRunner

from vision_line.cli.main import cli

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

KILLS = 2


def verify(records: Path, *options: str) -> str:
    """Carry out the command, in this process: it is asked often; return the head that it prints."""
    done = CliRunner().invoke(cli, ["verify", str(records), "--pictures", *options])
    assert done.exit_code == 0, done.output
    (head,) = re.findall(r"^head ([0-9a-f]{64})$", done.stdout, re.MULTILINE)
    return str(head)


def entries(run: LineRun, kind: str) -> list[dict[str, object]]:
    """Return the bodies of the journal's entries of a kind, each with its key."""
    rows = run.query(f"SELECT key, body FROM journal WHERE kind = '{kind}' ORDER BY number")
    return [{"key": key, **json.loads(body)} for key, body in rows]


def is_inspecting(run: LineRun, number: int) -> bool:
    return len(run.query(f"SELECT DISTINCT camera FROM coverage WHERE run = {number} AND inspected")) == len(run.names)


def test_killed_at_random_moments_the_records_hold(make_run: Callable[[int], LineRun]) -> None:
    """Also while a run writes; each head is in every later journal. The end is sealed, and says what was configured."""
    run = make_run(2)
    moment = random.Random(11)
    heads: list[str] = []
    for number in range(1, KILLS + 1):
        run.start()
        wait_for(partial(is_inspecting, run, number), f"run {number} inspects: {run.text()[-2000:]}")
        time.sleep(moment.uniform(0.0, 3.0))
        heads.append(verify(run.records))
        run.signal(signal.SIGKILL)
        run.wait()
        heads.append(verify(run.records, "--head", heads[-1]))
    run.start()
    wait_for(partial(is_inspecting, run, KILLS + 1), f"the last run inspects: {run.text()[-2000:]}")
    run.signal(signal.SIGTERM)
    assert run.wait() == 130
    for head in heads:
        verify(run.records, "--head", head)

    configured = {str(entry["key"]): entry for entry in entries(run, "configuration")}
    assert {f"camera/{name}" for name in run.names} | {"model", "section/record"} <= {*configured}
    assert {entry["before"] is None for entry in configured.values()} == {True}  # the runs after it changed nothing
    *_, last = run.query("SELECT kind FROM journal ORDER BY number")
    assert last == ("seal",)
