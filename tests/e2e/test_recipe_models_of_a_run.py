# SPDX-License-Identifier: AGPL-3.0-or-later
"""Two products, a model for each: after a change-over the other one inspects the next frame, and records say which."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from tests.e2e.conftest import COMMAND, LineRun
from tests.fakes.renamed_bundle import write_renamed_bundle
from tests.fakes.waiting import wait_for

from vision_line.devices.model.model import open_model
from vision_line.errors import RunError
from vision_line.feed.feed_client import FeedClient
from vision_line.parts.orders import Asked, ask_recipe
from vision_line.records.columns import Table
from vision_line.records.query import Selection
from vision_line.records.table_export import Format, export

pytestmark = pytest.mark.e2e

#: Each class of the second model has another name, so that every name says which model found it.
NAMES = {
    "open": "gap", "short": "bridge", "mousebite": "bite", "spur": "thorn", "copper": "blob", "pin-hole": "hole",
}  # fmt: skip
RECIPE = '[recipe.caps]\nmodel = "caps"\ncameras = ["cam01"]\n'
THIRD = '[recipe.late]\nmodel = "late"\n'


def use(run: LineRun, recipe: str) -> None:
    ask_recipe(run.records, recipe, Asked("a test", "command"))


def connect(run: LineRun) -> FeedClient | None:
    try:
        return FeedClient(run.records)
    except RunError:
        return None


def next_found(client: FeedClient, camera: str, recipe: str) -> set[str]:
    """Return the classes of the first result of a camera under a recipe in which something was found."""
    client.want(results=["cam01", "cam02"])
    while (message := client.receive(40)) is not None:
        said: dict[str, Any] = dict(message.header)
        if message.kind == "result" and (said["camera"], said["recipe"]) == (camera, recipe) and said["boxes"]:
            return {box["class"] for box in said["boxes"]}
    raise AssertionError(client.reason)


def test_a_line_changes_over_to_another_model_and_back(make_run: Callable[[int], LineRun]) -> None:
    run = make_run(2)
    write_renamed_bundle(run.folder / "caps", NAMES)
    write_renamed_bundle(run.folder / "late", NAMES)
    run.write_streams(run.names, extra=RECIPE)
    run.start()
    others = set(NAMES.values())
    wait_for(
        lambda: run.query("SELECT 1 FROM events WHERE recipe = ''"), "an event of the run's own model", within_s=120
    )
    with wait_for(lambda: connect(run), "the run serves its feed", within_s=120) as client:
        assert next_found(client, "cam01", "") <= set(NAMES)
        use(run, "caps")
        assert next_found(client, "cam01", "caps") <= others
        assert next_found(client, "cam02", "caps") <= set(NAMES)  # where the recipe does not count
        use(run, "")
        assert next_found(client, "cam01", "") <= set(NAMES)

        run.write_streams(run.names, extra=RECIPE + THIRD)
        wait_for(lambda: "model of recipe late: late, " in run.text(), "the new recipe's model is open")
        use(run, "late")
        assert next_found(client, "cam02", "late") <= others
        wait_for(lambda: run.query("SELECT 1 FROM events WHERE recipe = 'late'"), "an event of the new model")
        run.write_streams(run.names, extra=RECIPE.replace('"caps"\n', '"late"\n') + THIRD)
        refused = "recipe.caps.model: camera cam01 would be inspected by another model under this name than before"
        wait_for(lambda: refused in run.text(), "another model of a known recipe is refused")
    run.signal(signal.SIGINT)
    assert run.wait(60) == 130
    assert run.query("SELECT count(*) FROM states WHERE state = 'CONNECTING'") == [(2,)]  # no camera was opened again

    shas = {name: open_model(run.folder / name).sha256 for name in ("caps", "late")}
    shas["pcb-demo"] = open_model(None).sha256
    rows = run.query("SELECT recipe, model_name, model_sha256 FROM cameras WHERE name = 'cam01' ORDER BY since_utc")
    expected = [("", "pcb-demo"), ("caps", "caps"), ("", "pcb-demo"), ("late", "late")]
    assert rows == [(recipe, name, shas[name]) for recipe, name in expected]
    for table in (Table.EVENTS, Table.DETECTIONS):
        exported = run.folder / f"{table}.jsonl"
        export(run.records, table, Format.JSONL, Selection(), exported)
        found = [json.loads(line) for line in exported.read_text(encoding="utf-8").splitlines()]
        assert {one["model_sha256"] for one in found} >= {shas["pcb-demo"], shas["late"]}, table
        for one in found:
            of_others = one["recipe"] == "late" or (one["recipe"], one["camera"]) == ("caps", "cam01")
            model = one["recipe"] if of_others else "pcb-demo"
            assert (one["model_sha256"], one["class"] in others) == (shas[model], of_others), one
    opened = run.query("SELECT body FROM journal WHERE key LIKE 'model/%' ORDER BY number")
    named = [(after["name"], after["recipes"]) for (body,) in opened if (after := json.loads(body)["after"])]
    assert named == [("caps", ["caps"]), ("late", ["late"])]
    verified = subprocess.run([COMMAND, "verify", run.records], capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout
