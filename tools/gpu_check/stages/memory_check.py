# SPDX-License-Identifier: AGPL-3.0-or-later
"""The letterbox kernel at one input shape; the runner lets `compute-sanitizer` look for accesses out of bounds."""

from __future__ import annotations

from tools.gpu_check.findings import Findings
from tools.gpu_check.subjects import closed_device

from vision_line.selftest.kernel_bits import check_kernel


def run(findings: Findings) -> None:
    """Run it on every kind of frame."""
    findings.outcome("bits", check_kernel(closed_device()))
