# SPDX-License-Identifier: AGPL-3.0-or-later
"""The letterbox kernel: compiled, bit for bit, and its time for each size of a batch."""

from __future__ import annotations

from tools.gpu_check.findings import Findings, is_rehearsal
from tools.gpu_check.subjects import SMALL_SHAPE, closed_device

from vision_line.selftest.kernel_bits import check_kernel
from vision_line.selftest.rate_check import measure_kernel

_SHAPES = (SMALL_SHAPE, (640, 640), (384, 640))


def run(findings: Findings) -> None:
    """Check and time it at three input shapes."""
    for shape_hw in _SHAPES[: 1 if is_rehearsal() else None]:
        device, name = closed_device(shape_hw), f"{shape_hw[1]}x{shape_hw[0]}"
        findings.outcome(f"bits, {name}", check_kernel(device))
        findings.outcome(f"time, {name}", measure_kernel(device))
