# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs all checks of the doctor."""

from __future__ import annotations

from pathlib import Path

from vision_line.doctor.finding import Finding
from vision_line.doctor.libraries import find_engine, find_opencv, find_proof, find_records, find_video
from vision_line.doctor.machine import (
    find_disk,
    find_limits,
    find_memory,
    find_processor,
    find_python,
    find_terminal,
)
from vision_line.doctor.nvidia import find_gpu


def diagnose(records: Path = Path("records")) -> list[Finding]:
    """Check everything that inspection depends on; what is missing becomes a finding, never an error.

    `records` is the directory for records; it is not created. Takes a second or two: libraries are imported.
    """
    return [
        *find_python(),
        *find_processor(),
        *find_memory(),
        *find_gpu(),
        *find_video(),
        *find_engine(),
        *find_proof(),
        *find_opencv(),
        *find_records(),
        *find_disk(records),
        *find_limits(),
        *find_terminal(),
    ]
