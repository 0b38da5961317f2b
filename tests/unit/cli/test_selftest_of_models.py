# SPDX-License-Identifier: AGPL-3.0-or-later
"""The self-test of a line with several models: each is tested, a failure of any fails, the slowest is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vision_line.cli import selftest as command
from vision_line.cli.main import cli
from vision_line.selftest.report import (
    MachineFacts,
    ModelUnderTest,
    Selftest,
    SettingsFacts,
    failed,
    figure,
    passed,
    result,
)
from vision_line.selftest.selftest import CHECKS, MODEL_CHECKS, Check

STREAMS = """config_version = 1
[model]
path = "own"
[[stream]]
name = "a"
url = "rtsp://host/a"
[recipe.caps]
model = "caps"
[recipe.lids]
model = "lids"
"""
RATES = {"own": 300.0, "caps": 40.0, "lids": 90.0}


def report_of(name: str, *, is_good: bool) -> Selftest:
    """Return a report that says nothing but a rate and a proof."""
    rate = figure("inspected_fps", "all cameras", RATES[name], "frames/s")
    proof = passed("proven") if is_good else failed("not proven")
    return Selftest(
        vision_line="1.0",
        day_utc="2026-01-02",
        device="cpu",
        detail="Some processor",
        machine=MachineFacts(system="Linux", python="3.12.1", cores=8, libraries={}, gpu=None),
        model=ModelUnderTest(name=name, sha256="0" * 64, precision="int8", input_hw=(384, 640), classes=6),
        settings=SettingsFacts(seconds=1.0, repeats=1, picture_wh=(640, 360), cameras=16, fps=25.0),
        checks=[result("proof", proof), result("throughput", passed("measured", [rate]))],
    )


@pytest.mark.parametrize("bad", ["", "caps", "own"])
def test_each_model_of_the_file_is_tested(bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that need no model run once."""
    asked: list[tuple[str, Sequence[Check]]] = []

    def run(
        _device: str, model: Path, _settings: object, _watching: object, checks: Sequence[Check], *, log: Path
    ) -> Selftest:
        assert log.name == "log.txt"
        asked.append((model.name, checks))
        return report_of(model.name, is_good=model.name != bad)

    monkeypatch.setattr(command, "run_selftest", run)
    (tmp_path / "streams.toml").write_text(STREAMS, encoding="utf-8")
    file = tmp_path / "out.json"
    done = CliRunner(env={"COLUMNS": "200"}).invoke(
        cli, ["selftest", "--streams", str(tmp_path / "streams.toml"), "--json", str(file)]
    )
    assert asked == [("own", CHECKS), ("caps", MODEL_CHECKS), ("lids", MODEL_CHECKS)]
    assert done.exit_code == (4 if bad else 0)
    assert "Model caps of recipe caps" in done.output
    assert "3 models; the slowest is caps: 40 frames/s." in done.output
    report = Selftest.model_validate_json(file.read_bytes())
    assert [report.model.name, *(other.model.name for other in report.others)] == ["own", "caps", "lids"]


def test_checks_of_decoders_need_no_model() -> None:
    assert {check.name for check in CHECKS} - {check.name for check in MODEL_CHECKS} == {"decode_parity", "decode_rate"}
