# SPDX-License-Identifier: AGPL-3.0-or-later
"""What `check` says of lanes, with the records of a run and without."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from vision_line.cli.check_lanes import lane_troubles, measured_by_last_run
from vision_line.lanes.lane_sums import Measured
from vision_line.records.schema import FILE_NAME, open_writer, transaction

LANE = """config_version = 1
[[stream]]
name = "a"
url = "rtsp://{PASSWORD}@10.0.0.1/"
[record]
directory = "DIR"
[[lane]]
name = "l1"
cameras = ["a"]
window_ms = [0, 500]
ejector_ms = 650
"""
CLASSES = ("spur", "short")


def own(_recipe: str, _camera: str) -> tuple[str, ...]:
    """Return the classes of a line with one model."""
    return CLASSES


RUN = """INSERT INTO runs (run, run_id, version, started_utc, config_sha256, model_name, model_sha256, precision,
    device, host, classes, evidence) VALUES (?, ?, '1', 1, '', '', '', '', '', '', '[]', 0)"""
DETECTION = """INSERT INTO detections (run, camera, station, recipe, sequence, arrived_utc, arrived_s, class, score,
    x1, y1, x2, y2, width, height, latency_ms) VALUES (?, ?, '', '', ?, 1, 1, 'spur', 0.9, 0, 0, 1, 1, 9, 9, ?)"""
MINUTE = """INSERT INTO coverage (run, camera, station, recipe, minute_utc, arrived, decoded, inspected,
    not_inspected_s, reconnects) VALUES (?, ?, '', '', ?, 0, 0, ?, ?, 0)"""


def make_records(directory: Path) -> None:
    with closing(open_writer(directory / FILE_NAME)) as connection, transaction(connection):
        for run in (1, 2):
            connection.execute(RUN, (run, f"r{run}"))
            connection.executemany(
                DETECTION, [(run, "a", number, 10.0 * run + (number == 500)) for number in range(1000)]
            )
            connection.executemany(DETECTION, [(run, "b", number, 900.0) for number in range(10)])
            connection.executemany(
                MINUTE, [(run, "a", 60, 600, 0.0), (run, "a", 120, 5, 30.0), (run, "a", 180, 660, 0.0)]
            )


def test_the_last_run_says_how_slow_and_how_often(tmp_path: Path) -> None:
    make_records(tmp_path)
    found = measured_by_last_run(tmp_path, ["a"])
    assert found.latency_ms == 21.0
    assert found.rates == {"a": 10.5}


def test_a_lane_that_cannot_work_is_named_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the records show it: without them nothing speaks against it."""
    streams = tmp_path / "streams.toml"
    streams.write_text(LANE.replace("DIR", str(tmp_path)), encoding="utf-8")
    assert lane_troubles(streams, own) == []
    assert "latency (no run yet)" in capsys.readouterr().out
    make_records(tmp_path)
    (trouble,) = lane_troubles(streams, own)
    assert trouble.startswith(f"{streams}:7: lane[l1]: no part could be accepted: a good one is known")


def test_a_lane_that_sees_its_parts_itself_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    streams = tmp_path / "streams.toml"
    text = (
        LANE.replace("DIR", str(tmp_path)).replace("650", "1650") + 'parts = "optical"\n[lane.optical]\ncamera = "a"\n'
    )
    text += 'classes = ["spur"]\nline = [[0.5, 0.0], [0.5, 1.0]]\ndirection = "right"\n'
    streams.write_text(text, encoding="utf-8")
    make_records(tmp_path)
    assert lane_troubles(streams, own) == []
    said = capsys.readouterr()
    assert "from when the part's centre was on the line, between two inspected frames" in said.out
    assert "that it crossed is known 116 ms later" in said.out
    assert "spur counts as a defect of the part itself" in said.err
    assert lane_troubles(streams, lambda *_: None) == []
    (trouble,) = lane_troubles(streams, lambda *_: ("short", "open"))
    assert "optical.classes: found 'spur', no class of the model, expected some of short, open" in trouble


def test_lanes_that_are_not_valid_are_named(tmp_path: Path) -> None:
    streams = tmp_path / "streams.toml"
    streams.write_text(LANE.replace("[0, 500]", "[500, 0]"), encoding="utf-8")
    (trouble,) = lane_troubles(streams, own)
    assert "lane[l1].window_ms" in trouble


def test_every_model_that_may_inspect_a_lane_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One without the class of the parts would see none; of the last run the slowest recipe counts."""
    streams = tmp_path / "streams.toml"
    text = (
        LANE.replace("DIR", str(tmp_path)).replace("650", "2650") + 'parts = "optical"\n[lane.optical]\ncamera = "a"\n'
    )
    text += 'classes = ["spur"]\nline = [[0.5, 0.0], [0.5, 1.0]]\ndirection = "right"\n'
    text += '[recipe.caps]\nmodel = "caps"\n[recipe.lids]\nmodel = "lids"\n[recipe.fine]\nmin_hits = 4\n'
    streams.write_text(text, encoding="utf-8")
    make_records(tmp_path)
    with closing(open_writer(tmp_path / FILE_NAME)) as connection, transaction(connection):
        slow = DETECTION.replace("?, ?, '', '', ?", "?, ?, '', 'lids', ?")
        connection.executemany(slow, [(2, "a", number, 300.0) for number in range(2000, 2010)])
        connection.execute(MINUTE.replace("'', ''", "'', 'lids'"), (2, "a", 240, 480, 0.0))
    found = measured_by_last_run(tmp_path, ["a"])
    assert found == Measured(300.0, {"a": 8.0}, frozenset({"", "lids"}))

    (trouble,) = lane_troubles(streams, lambda recipe, _: ("dent",) if recipe == "caps" else CLASSES)
    assert "optical.classes: found 'spur', no class of the model under recipe caps, expected some of dent" in trouble
    assert "did not inspect by the model of recipe caps: if it is slower" in capsys.readouterr().err
