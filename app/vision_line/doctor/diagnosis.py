# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs all checks of the doctor."""

from __future__ import annotations

from collections.abc import Sequence
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

#: The shipped model, which nobody need name.
SHIPPED: tuple[tuple[str, Path | None], ...] = (("", None),)


def diagnose(records: Path, models: Sequence[tuple[str, Path | None]] = SHIPPED) -> list[Finding]:
    """Check everything that inspection depends on; what is missing becomes a finding, never an error.

    `records` is the directory for records; it is not created. Each of `models` is proven, and named by who names it.
    Takes a second or two: libraries are imported.
    """
    return [
        *find_python(),
        *find_processor(),
        *find_memory(),
        *find_gpu(),
        *find_video(),
        *find_engine(),
        *(finding for named_by, path in models for finding in find_proof(path, named_by)),
        *find_opencv(),
        *find_records(),
        *find_disk(records),
        *find_limits(),
        *find_terminal(),
    ]
