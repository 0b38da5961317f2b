# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the command line asks of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vision_line.config.load import LoadedConfig


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The command line of a run; None leaves the choice to the configuration."""

    streams: Path
    model: Path | None = None
    device: str | None = None
    duration_s: float | None = None  # from the moment that the device is ready; None: without end
    headless: bool = False
    summary: Path | None = None
    record: Path | None = None
    overlay: Path | None = None
    cameras: int | None = None  # inspect only the first N
    allow_failed_gates: bool = False


def model_path(options: RunOptions, loaded: LoadedConfig) -> Path | None:
    """Return the model that is asked for, None for the shipped one. Pure."""
    if options.model is not None:
        return options.model
    path = loaded.config.model.path
    return None if path is None else loaded.path.parent / path
