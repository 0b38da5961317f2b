# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each decoder's frames against the CPU's, for H.264, HEVC and AV1, 8 and 10 bit: in order, none missing."""

from __future__ import annotations

from tools.gpu_check.findings import Findings
from tools.gpu_check.subjects import closed_device

from vision_line.selftest.decoder_check import check_parity


def run(findings: Findings) -> None:
    """Compare them."""
    findings.outcome("parity", check_parity(closed_device()))
