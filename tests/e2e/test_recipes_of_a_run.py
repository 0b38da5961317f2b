# SPDX-License-Identifier: AGPL-3.0-or-later
"""A change-over while the line runs: by the command, from the next frame on, and in all that is kept."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.conftest import COMMAND, LineRun
from tests.fakes.waiting import wait_for

from vision_line.errors import RunError
from vision_line.feed.feed_client import FeedClient

pytestmark = pytest.mark.e2e

RECIPES = '[recipe.7]\nmin_hits = 8\nscore_threshold = 0.6\n[recipe.8]\nclasses = ["short"]\ncameras = ["cam01"]\n'


def recipes(run: LineRun, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "recipes", *arguments, "--streams", run.streams, "--record", run.records],
        text=True,
        capture_output=True,
        check=False,
    )


def connect(run: LineRun) -> FeedClient | None:
    try:
        return FeedClient(run.records)
    except RunError:
        return None


def next_recipe(client: FeedClient, wanted: str) -> dict[str, Any]:
    """Return the first result under a recipe."""
    client.want(results=["cam01"])
    while (message := client.receive(20)) is not None:
        if message.kind == "result" and message.header["recipe"] == wanted:
            return dict(message.header)
    raise AssertionError(client.reason)


def test_a_line_changes_over_by_the_command(make_run: Callable[[int], LineRun]) -> None:
    run = make_run(2)
    run.write_streams(run.names, extra=RECIPES)
    run.start()
    with wait_for(lambda: connect(run), "the run serves its feed") as client:
        next_recipe(client, "")
        asked = recipes(run, "use", "7")
        assert asked.stdout == "recipe 7: in force at cam01, cam02\n", asked
        next_recipe(client, "7")
        assert recipes(run, "use", "9").returncode == 2
        asked = recipes(run, "use", "8")
        assert asked.stdout == "recipe 8: in force at cam01, cam02\n", asked
        next_recipe(client, "8")
        asked = recipes(run, "use", "--none")
        assert asked.stdout == "no recipe: in force at cam01, cam02\n", asked
        next_recipe(client, "")
    wishes = json.loads(recipes(run, "list", "--json").stdout)
    assert (wishes["recipes"], wishes["runs"], [wish["recipe"] for wish in wishes["wishes"]]) == (
        ["7", "8"],
        True,
        [""],
    )
    run.signal(signal.SIGINT)
    assert run.wait(60) == 130
    asked = recipes(run, "use", "7")
    assert asked.stdout == "recipe 7: asked for; no run inspects now, the next one begins with it\n", asked

    rows = run.query("SELECT recipe FROM cameras WHERE name = 'cam01' ORDER BY since_utc")
    assert rows == [("",), ("7",), ("8",), ("",)]
    assert run.query("SELECT count(*) FROM states WHERE state = 'CONNECTING'") == [(2,)]  # no camera was opened again
    entries = run.query("SELECT body FROM journal WHERE kind = 'configuration' AND key = 'recipe/*' ORDER BY number")
    said = [json.loads(body) for (body,) in entries]
    assert [(one["why"], one["after"]["recipe"], one["after"]["door"]) for one in said] == [
        ("recipe", "7", "command"),
        ("recipe", "8", "command"),
        ("recipe", "", "command"),
    ]
    verified = subprocess.run([COMMAND, "verify", run.records], capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout
