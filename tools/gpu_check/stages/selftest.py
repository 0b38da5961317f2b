# SPDX-License-Identifier: AGPL-3.0-or-later
"""The whole self-test, as `vision-line selftest` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.gpu_check.findings import OUT, Findings, is_rehearsal, uses_standin
from tools.gpu_check.subjects import settings

from vision_line.devices.model.model import open_model
from vision_line.selftest.device_under_test import device_under_test
from vision_line.selftest.report import Selftest
from vision_line.selftest.selftest import CHECKS, run_checks

#: Set by the runner: the options of the command, such as --quick.
OPTIONS = "GPU_CHECK_SELFTEST"
#: Checks that fail rightly where torch stands in for TensorRT: it computes in float.
_FLOAT = frozenset({"engine_layers"})


def run(findings: Findings) -> None:
    """Run the command and read its report; a rehearsal runs its checks here, where the fakes are."""
    if is_rehearsal():
        rehearse(findings)
        return
    options = os.environ.get(OPTIONS, "").split()
    path = Path(os.environ[OUT]) / "selftest-report.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "vision_line", "selftest", "--device", "cuda:0", "--json", str(path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    findings.note("exit_code", done.returncode)
    findings.note("said", (done.stdout + done.stderr)[-6000:])
    if not path.exists():
        findings.fault(f"no report; exit code {done.returncode}")
        return
    report = Selftest.model_validate_json(path.read_text(encoding="utf-8"))
    path.unlink()
    findings.note("report", report.model_dump(mode="json"))
    for check in report.checks:
        if check.status == "failed" and not (uses_standin() and check.name in _FLOAT):
            findings.fault(f"{check.name}: {check.sentence}")


def rehearse(findings: Findings) -> None:
    """Run all checks on the fakes."""
    with device_under_test("cuda:0", open_model(None), settings()) as device:
        for news in run_checks(device, CHECKS):
            if news.result is not None:
                findings.note(news.result.name, news.result.sentence)
                if news.result.status == "failed":
                    findings.fault(f"{news.result.name}: {news.result.sentence}")
