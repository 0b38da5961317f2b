# SPDX-License-Identifier: AGPL-3.0-or-later
"""The five minutes of docs/plant.md as they stand: a real server, and what ships as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from tests.fakes.postgres import PostgresServer
from tests.fakes.shipping_box import WAIT_S, ShippingBox
from typer.testing import CliRunner

from vision_line.cli.main import cli

PAGE = (Path(__file__).parents[3] / "docs/plant.md").read_text(encoding="utf-8")
#: The first lines of the page that are no text.
BLOCKS = re.findall(r"```(?:toml)?\n(.*?)```", PAGE, re.DOTALL)


def said(environment: dict[str, str], *words: str) -> str:
    """Give a command of the page, and return what it said."""
    done = CliRunner().invoke(cli, words, env=environment)
    assert done.exit_code == 0, done.output
    return done.stdout


def until(holds: Callable[[Any], object], environment: dict[str, str], box: ShippingBox) -> Any:
    """Return how shipping is, once something holds of it."""
    deadline_s = time.monotonic() + WAIT_S
    status: Any = None
    while status is None or not holds(status):
        assert time.monotonic() < deadline_s, status
        time.sleep(0.2)
        status = json.loads(said(environment, "ship", "status", "--json", "--record", str(box.directory)))
    return status


def test_the_five_minutes(postgres: PostgresServer, tmp_path: Path) -> None:
    """From an empty server to a box whose events are counted in the database."""
    role, commands, table, ship, shown = (
        block.replace("127.0.0.1/", f"127.0.0.1:{postgres.port}/") for block in BLOCKS[:5]
    )
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        for statement in re.findall(r'-c "([^"]*)"', role):
            connection.execute(statement.encode())
    exported = dict(re.findall(r"export (\w+)='?([^'\n]*)'?", commands))
    environment = {**os.environ, **exported}
    assert "vision-line database init\n" in commands
    assert "schema" in said(environment, "database", "init")
    streams = tmp_path / "streams.toml"
    streams.write_text(f"config_version = 1\n{table}", encoding="utf-8")
    assert "vision-line ship --streams streams.toml" in ship
    url = exported["VISION_LINE_DATABASE"].replace("{PLANT_PASSWORD}", exported["PLANT_PASSWORD"])
    with ShippingBox.made(tmp_path / "records", url) as box:
        box.record()
        words = ["ship", "--streams", str(streams), "--record", str(box.directory)]
        # Whoever wrote the file first was wrong: it is mended while the shipper runs.
        right = streams.read_text(encoding="utf-8")
        streams.write_text(right.replace("/vision_line", "/another"), encoding="utf-8")
        process = subprocess.Popen([sys.executable, "-m", "vision_line", *words], env=environment)
        try:
            assert "another" in until(lambda status: status["state"]["error"], environment, box)["state"]["error"]
            for text in ("[central", right):  # what has errors is not used, and ends nothing
                streams.write_text(text, encoding="utf-8")
                process.send_signal(signal.SIGHUP)
                time.sleep(0.5)  # two of them that come at once are one
            status = until(
                lambda status: status["places"].get("records") and not status["state"]["behind"], environment, box
            )
        finally:
            process.terminate()
            assert process.wait(WAIT_S) == 130

        assert status["is_running"]
        assert "box1" in said(environment, "database", "status")
        assert "the same" in said(environment, "ship", "compare", *words[1:])
    (asked,) = re.findall(r'-c "(SELECT[^"]*)"', shown)
    with psycopg.connect(url) as connection:
        assert connection.execute(asked.encode()).fetchall() == [("box1", "reject", 3)]
