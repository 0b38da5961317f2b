# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line --streams ... --lanes`: simulated boards pass, and each gets what is on it, or is not inspected."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import COMMAND, LineRun
from tests.fakes.board_passes import ROI, BoardPasses
from tests.fakes.waiting import wait_for

from vision_line.errors import RunError
from vision_line.lanes.lanes_client import LanesClient
from vision_line.parts.parts_file import FILE_NAME

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def lane_text(number: int, passes: BoardPasses) -> str:
    """Return the lane of one camera."""
    return (
        f'[[lane]]\nname = "l{number}"\ncameras = ["{passes.camera}"]\n'
        f"window_ms = {passes.window_ms}\nejector_ms = 6000\n"
    )


def client_of(record: Path) -> LanesClient | None:
    """Return a client, None while nobody decides there."""
    try:
        return LanesClient(record)
    except RunError:
        return None


def is_served(record: Path) -> bool:
    """Whether somebody decides there."""
    client = client_of(record)
    if client is not None:
        client.close()
    return client is not None


def ready_client(record: Path) -> LanesClient:
    """Return a client of lanes that have their line."""
    client: LanesClient = wait_for(lambda: client_of(record), "lanes are there", 60)
    wait_for(lambda: not any(lane["fault"] for lane in client.status()["lanes"]), "they have their line", 120)
    client.follow()
    return client


def pass_boards(client: LanesClient, belts: list[BoardPasses]) -> dict[tuple[str, int], frozenset[str]]:
    """Trigger the next two boards of each camera; return what is truly on each part."""
    coming = sorted(
        ((one.at_s, f"l{number}", one) for number, belt in enumerate(belts, start=1) for one in belt.coming(2)),
        key=lambda each: each[0],
    )
    truth = {}
    for at_s, lane, board in coming:
        time.sleep(max(0.0, at_s - time.monotonic()))
        sequence = client.part(lane, part_id=f"board-{board.board}", at_s=at_s)
        truth[lane, sequence] = board.kinds
    return truth


def recorded(record: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(record / FILE_NAME)) as connection:
        return connection.execute("SELECT lane, sequence, verdict, is_simulated FROM parts ORDER BY number").fetchall()


def test_boards_get_what_is_on_them(make_run: Callable[[int], LineRun]) -> None:
    run = make_run(2)
    belts = [BoardPasses(number, run.sent_log) for number in (1, 2)]
    lanes = "".join(lane_text(number, belt) for number, belt in enumerate(belts, start=1))
    run.write_streams(run.names, lanes, f"{ROI}\nmin_hits = 3\ndwell_s = 0.9")
    run.start("--lanes")
    with ready_client(run.records) as client:
        truth = pass_boards(client, belts)
        found = [client.next_decision(30) for _ in truth]
        run.signal(signal.SIGKILL)
        wait_for(lambda: not is_served(run.records), "the lanes end with the run", 30)
    run.wait()
    decided = {(each["lane"], each["sequence"]): each["verdict"] for each in found if each is not None}
    assert decided.keys() == truth.keys()
    assert not [part for part, verdict in decided.items() if verdict in {"accept", "warn"} and truth[part]]
    assert not [part for part, verdict in decided.items() if verdict == "reject" and not truth[part]]
    assert {"accept", "reject"} & set(decided.values())  # a machine that is too slow for all of them shows nothing
    assert {(lane, sequence): verdict for lane, sequence, verdict, _ in recorded(run.records)} == decided
    assert all(row[3] for row in recorded(run.records))

    command: list[str | Path] = [COMMAND, "lanes", "--streams", run.streams, "--record", run.records]
    alone = subprocess.Popen(command, cwd=run.folder, stderr=subprocess.DEVNULL)
    try:
        client = wait_for(lambda: client_of(run.records), "lanes are there without a run", 60)
        with client:
            client.follow()
            client.part("l2")
            decision = client.next_decision(30)
        shown = subprocess.run([COMMAND, "lanes", "status"], cwd=run.folder, capture_output=True, text=True, check=True)
    finally:
        alone.terminate()
    assert alone.wait(60) == 130
    assert decision is not None
    assert (decision["sequence"], decision["verdict"], decision["cause"]) == (3, "not_inspected", "line_away")
    assert "l2: decides, accepts nothing now: no run has a live feed" in shown.stdout
