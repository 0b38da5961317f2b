# SPDX-License-Identifier: AGPL-3.0-or-later
"""The installed `vision-line selftest`: the CPU device for real, and machines where there is nothing to test."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from zipfile import ZipFile

import pytest
from typer.testing import CliRunner

from vision_line.cli.main import cli
from vision_line.selftest.report import Selftest, Status

COMMAND = Path(sys.executable).parent / "vision-line"
FREE = ("opening", "proof", "ordering", "decode_rate", "throughput", "latency", "memory")


def selftest(*options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run([COMMAND, "selftest", *options], capture_output=True, text=True, check=False, timeout=120)


def worker_of(command: subprocess.Popen[bytes]) -> int:
    """Return the process that checks for the command, once there is one."""
    deadline_s = time.monotonic() + 40
    while time.monotonic() < deadline_s:
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == command.pid and b"vision_line.selftest.worker" in (path / "cmdline").read_bytes():
                    return int(path.name)
        time.sleep(0.02)
    raise AssertionError("the command has started no process")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_selftest_that_is_ended_leaves_no_process_on_the_device(number: signal.Signals) -> None:
    with subprocess.Popen(
        [COMMAND, "selftest", "--device", "cpu"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as command:
        descriptor = os.pidfd_open(worker_of(command))
        try:
            command.send_signal(number)
            ended, _, _ = select.select([descriptor], [], [], 40)
            if not ended:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)
    assert ended
    assert command.returncode == (130 if number is signal.SIGTERM else -signal.SIGKILL)


def test_the_cpu_passes_what_applies_to_it(tmp_path: Path) -> None:
    """Order, rates and latency are measured for real; the GPU's checks say why they are skipped."""
    file = tmp_path / "selftest.json"

    done = selftest("--device", "cpu", "--quick", "--seconds", "0.5", "--json", file)

    assert (done.returncode, done.stderr) == (0, "")
    assert "No check failed." in done.stdout
    report = Selftest.model_validate_json(file.read_bytes())
    assert report.device == "cpu"
    assert {check.name for check in report.checks if check.status is Status.PASSED} == set(FREE)
    figures = {figure.name: figure.value for check in report.checks for figure in check.figures}
    assert figures["frames_submitted"] == 250
    assert figures["decode_fps"] > 0
    assert figures["packet_to_result_ms_p95"] >= figures["packet_to_result_ms_p50"] > 0
    assert str(tmp_path) not in file.read_text(encoding="utf-8")


def test_one_file_has_all_that_a_developer_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report of the checks, the doctor's findings, and what was printed, without folders."""
    monkeypatch.chdir(tmp_path)

    done = selftest("--device", "cpu", "--quick", "--seconds", "0.5", "--report")

    (path,) = tmp_path.iterdir()
    assert (done.returncode, done.stderr) == (0, f"{path.name}: to send; no names, addresses or folders are in it\n")
    assert path.name.startswith("vision-line-selftest-cpu-")
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        report, doctor, log = (archive.read(name).decode() for name in archive.namelist())
    assert Selftest.model_validate_json(report).failed == ()
    assert {finding["area"] for finding in json.loads(doctor)} > {"cpu", "video"}
    assert "== latency ==" in log
    assert str(Path.home()) not in report + doctor + log


def test_without_a_gpu_cuda_is_one_sentence() -> None:
    """Nothing is tested, and the exit code says that the device is unusable."""
    done = selftest("--device", "cuda")

    if done.returncode in (0, 4):
        pytest.skip("there is a GPU")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("vision-line: cuda: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--device", "gpu"), 3, "device: expected one of auto, cpu, cuda"),
        (("--device", "cpu", "--model", "nowhere"), 3, "nowhere: not found"),
        (("--device", "cpu", "--json", "nowhere/x.json"), 2, "--json nowhere/x.json: cannot be written"),
    ],
)
def test_what_cannot_be_tested_is_said_at_once(options: tuple[str, ...], code: int, words: str) -> None:
    """Wrong names cost no minutes."""
    done = CliRunner().invoke(cli, ["selftest", *options])

    assert done.exit_code == code
    assert words in done.stderr
