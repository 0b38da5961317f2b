# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line --streams ... --lanes --outputs` without a photo-eye: what crosses a line is a part, to every door.

Any defect of the simulated boards does as a part, so that one comes soon. What each part must get, processor by
processor, is held by `tests/integration/lanes/test_optical_lane.py`; here it is that real processes agree.
"""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pymodbus.client import ModbusTcpClient
from tests.e2e.conftest import LineRun
from tests.e2e.test_lanes_of_a_run import ready_client
from tests.fakes.board_passes import SIMULATOR_SEED
from tests.fakes.broker import Subscriber, running_broker
from tests.fakes.ports import free_port
from tests.fakes.waiting import wait_for

from vision_line.lanes.lanes_client import LanesClient
from vision_line.parts.parts_file import FILE_NAME
from vision_line.simulator.clips import plan_clip
from vision_line.simulator.defects import KINDS
from vision_line.simulator.scene import SIZE_WH, draw_scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CAMERAS, LINE = 4, 0.7
#: Of parts that crossed before somebody watched.
BEGINNING = {"restart", "line_away"}
CLASSES = json.dumps(list(KINDS))
DEFAULTS = f"roi = [[[0.45, 0.0], [0.85, 0.0], [0.85, 1.0], [0.45, 1.0]]]\ndwell_s = 1.8\naccept_classes = {CLASSES}"


def lane_text(number: int) -> str:
    """Return the lane of a camera."""
    return (
        f'[[lane]]\nname = "l{number}"\ncameras = ["cam{number:02d}"]\nparts = "optical"\nwindow_ms = [-600, 0]\n'
        f'ejector_ms = 3000\n[lane.optical]\ncamera = "cam{number:02d}"\nclasses = {CLASSES}\n'
        f'line = [[{LINE}, 0.0], [{LINE}, 1.0]]\ndirection = "right"\n'
    )


def decisions(client: LanesClient, count: int) -> Iterator[tuple[str, int, str]]:
    """Yield lane, sequence and verdict of decisions, until so many parts were seen to come."""
    while count:
        decision = client.next_decision(60)
        assert decision is not None
        count -= decision["cause"] not in BEGINNING
        yield str(decision["lane"]), int(decision["sequence"]), str(decision["verdict"])


def parts_read(port: int) -> int:
    """Return how many parts a PLC reads of all lanes."""
    with ModbusTcpClient("127.0.0.1", port=port, timeout=60) as plc:
        return sum(plc.read_input_registers(16 + 16 * lane + 2).registers[0] for lane in range(CAMERAS))


def is_something_on_the_line(lane: str, at_utc: float, sent_log: Path) -> bool:
    """Whether a defect was truly near the line of a lane's camera at a moment: within half a second."""
    number = int(lane[1:])
    plan = plan_clip(number, SIMULATOR_SEED)
    scene = draw_scene(plan)
    sent = [
        json.loads(text) for text in sent_log.read_text(encoding="utf-8").splitlines() if f"cam{number:02d}" in text
    ]
    frame = min(sent, key=lambda one: abs(one["sent_utc_s"] - at_utc))
    shift_px, turn_px = scene.shift_px(frame["index"]), plan.belt_px
    middles = [((one.xyxy[0] + one.xyxy[2]) / 2 + shift_px) % turn_px for one in scene.defects]
    return any(abs(middle - LINE * SIZE_WH[0]) < plan.speed_px_s / 2 for middle in middles)


def test_every_door_says_the_same_of_what_crosses_a_line(make_run: Callable[[int], LineRun], tmp_path: Path) -> None:
    run, port = make_run(CAMERAS), free_port()
    with running_broker(tmp_path / "broker") as broker, closing(Subscriber(broker.port)) as subscriber:
        output = f'[[output]]\ntype = "mqtt"\nname = "plant"\nurl = "mqtt://127.0.0.1:{broker.port}"\ntopic = "line"\n'
        lanes = "".join(map(lane_text, range(1, CAMERAS + 1)))
        modbus = f'[modbus]\nlisten = "127.0.0.1:{port}"\n'
        run.write_streams(run.names, output + 'kinds = ["part"]\n' + lanes + modbus, DEFAULTS)
        run.start("--lanes", "--outputs")
        with ready_client(run.records) as client:
            decided = list(decisions(client, 2))
            wait_for(lambda: parts_read(port) >= len(decided), "the PLC reads them")
        messages = subscriber.wait_for("/part", len(decided), 60)
        run.signal(signal.SIGINT)
        run.wait()

    with closing(sqlite3.connect(run.records / FILE_NAME)) as connection:
        rows = connection.execute("SELECT lane, sequence, verdict, triggered_utc, corrected FROM parts").fetchall()
    recorded = {(lane, sequence): verdict for lane, sequence, verdict, *_ in rows}
    late = {(lane, sequence) for lane, sequence, *_, corrected in rows if corrected is not None}
    assert len(recorded) == len(rows)
    assert all(
        recorded[lane, sequence] == verdict for lane, sequence, verdict in decided if (lane, sequence) not in late
    )
    sent = {(one.content["lane"], one.content["sequence"]): one.content["verdict"] for one in messages}
    assert sent.items() <= recorded.items()
    for lane, _, verdict, at_utc, _ in rows:
        assert verdict == "not_inspected" or is_something_on_the_line(lane, at_utc, run.sent_log)
