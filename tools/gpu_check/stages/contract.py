# SPDX-License-Identifier: AGPL-3.0-or-later
"""The contract suite of all devices, on the GPU: `pytest -m gpu`."""

from __future__ import annotations

import os
import subprocess
import sys

from tools.gpu_check.findings import Findings, is_rehearsal


def run(findings: Findings) -> None:
    """Run it; a rehearsal runs the same tests on the fakes."""
    chosen = ["-k", "test and cuda and not several"] if is_rehearsal() else ["-m", "gpu"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "ignore",
        "-p",
        "no:cacheprovider",
        "--timeout",
        "60",
        *chosen,
    ]
    command.append("tests/contract/test_device_contract.py")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"CI": "1"})
    findings.note("said", done.stdout[-8000:])
    if done.returncode:
        findings.fault(f"pytest: exit code {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
