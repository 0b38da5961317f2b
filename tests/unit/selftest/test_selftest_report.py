# SPDX-License-Identifier: AGPL-3.0-or-later
"""The report: what is stored, what is not, and how it is shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from vision_line.cli.selftest import report_table
from vision_line.documented import docstrings
from vision_line.errors import DeviceError
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.load_test import percentile
from vision_line.selftest.report import (
    CheckOutcome,
    MachineFacts,
    ModelUnderTest,
    Selftest,
    SettingsFacts,
    Status,
    failed,
    figure,
    passed,
    result,
    without_folders,
)
from vision_line.selftest.selftest import CHECKS, Check, run_check

HOME = Path("/home/ann")

REPORT = Selftest(
    vision_line="1.0",
    day_utc="2026-01-02",
    device="cuda:0",
    detail="Some GPU",
    machine=MachineFacts(system="Linux x86_64", python="3.12.1", cores=8, libraries={"av": "19.0"}, gpu=None),
    model=ModelUnderTest(name="pcb", sha256="0" * 64, precision="int8", input_hw=(384, 640), classes=6),
    settings=SettingsFacts(seconds=10.0, repeats=50, picture_wh=(1920, 1080), cameras=16, fps=25.0),
    checks=[
        result("kernel_bits", passed("all the same")),
        result("engine_time", passed("quick", [figure("engine_ms", "batch of 1", 0.51234567, "ms")])),
        result("ordering", failed("[3] were lost")),
    ],
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all is well: 3/4 of them, 25 frames/s", "all is well: 3/4 of them, 25 frames/s"),
        ("/home/ann/.cache/vision-line/m.engine: cannot be read", "m.engine: cannot be read"),
        ("'/srv/line 4/a model/m.onnx' is gone", "'m.onnx' is gone"),
        ("/home/ann cannot be written", "~ cannot be written"),
        ("libcuda.so.1 was not found", "libcuda.so.1 was not found"),
        ("/m.onnx", "m.onnx"),
    ],
)
def test_no_folder_is_stored(text: str, expected: str) -> None:
    """Where a user keeps things is nobody's business; a file's own name is kept."""
    assert without_folders(text, HOME) == expected


def test_a_report_survives_being_stored() -> None:
    """Version 1 has these fields; within it they stay."""
    again = Selftest.model_validate_json(REPORT.model_dump_json())

    assert again == REPORT
    assert again.selftest_version == 1
    assert again.failed == ("ordering",)
    assert list(Selftest.model_fields) == [
        "selftest_version",
        "vision_line",
        "day_utc",
        "device",
        "detail",
        "machine",
        "model",
        "settings",
        "checks",
        "unfinished",
        "others",
    ]
    assert again.checks[1].figures[0].value == 0.512346, "six digits are enough"


def test_every_field_is_explained() -> None:
    """What is stored is documented where it is defined."""
    for model in (Selftest, MachineFacts, ModelUnderTest, SettingsFacts, type(REPORT.checks[0])):
        assert [name for name in model.model_fields if not docstrings(model).get(name)] == []


def test_the_table_shows_all_of_it() -> None:
    """Marks are words too; text with brackets is no markup."""
    console = Console(width=100, file=io.StringIO(), record=True)

    console.print(report_table(REPORT))

    text = console.export_text()
    for expected in ("cuda:0: Some GPU", "■ FAILED", "[3] were lost", "engine_ms", "0.51235 ms", "Failed: ordering."):
        assert expected in text


def test_names_of_checks_are_stable() -> None:
    """They are stored: new ones may be added, none may change. What needs no engine comes before it is opened."""
    assert [check.name for check in CHECKS] == [
        "kernel_bits",
        "decode_parity",
        "kernel_time",
        "decode_rate",
        "opening",
        "proof",
        "detections",
        "ordering",
        "engine_layers",
        "engine_time",
        "throughput",
        "latency",
        "memory",
        "power",
    ]


def test_whatever_is_raised_fails_the_check_alone(dut: DeviceUnderTest) -> None:
    """What was foreseen is a sentence; a bug keeps its traceback."""

    def refuse(_dut: DeviceUnderTest) -> CheckOutcome:
        raise DeviceError("cuda: too little memory")

    def stumble(_dut: DeviceUnderTest) -> CheckOutcome:
        raise KeyError("a bug")

    foreseen, bug = (run_check(Check("x", "a check", run), dut) for run in (refuse, stumble))

    assert (foreseen.status, foreseen.sentence, foreseen.traceback) == (Status.FAILED, "cuda: too little memory", [])
    assert (bug.status, bug.sentence) == (Status.FAILED, "not foreseen: KeyError: 'a bug'")
    assert bug.traceback[-1] == "KeyError: 'a bug'"
    assert any("test_selftest_report.py" in line and "stumble" in line for line in bug.traceback)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2.0), (0.95, 4.0), (0.01, 1.0)])
def test_percentiles_are_values_that_were_measured(share: float, expected: float) -> None:
    """Nearest rank."""
    assert percentile((1.0, 2.0, 3.0, 4.0), share) == expected
