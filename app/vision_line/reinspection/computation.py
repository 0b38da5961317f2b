# SPDX-License-Identifier: AGPL-3.0-or-later
"""How a machine computes a model, in words: what another processor or engine finds may be other than this one's."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from vision_line.devices.model.model import open_model
from vision_line.devices.selection import choose_device, open_device
from vision_line.errors import DeviceError


def computation_of(model: Path | None, device: str) -> str:
    """Return how a model is computed on this machine, in words; its engine is opened and proven for that.

    Raises:
        VisionLineError: it cannot be used here.
    """
    opened, name = open_model(model), choose_device(device)
    with closing(open_device(name, opened, opened.input_shapes_hw[:1], lambda: None)) as loaded:
        said = loaded.description
    return f"{said.precision} on {said.instruction_set or said.detail}{', ' if said.variant else ''}{said.variant}"


def computation_here(model: Path | None, device: str) -> str:
    """Return it for this machine, "" where it has no GPU and one is asked for: those of a cluster's workers count then.

    Raises:
        VisionLineError: the model cannot be used here.
    """
    try:
        return computation_of(model, device)
    except DeviceError:
        if kind_of_device(device) != "cuda":
            raise
        return ""


def kind_of_device(device: str) -> str:
    """Return "cpu" or "cuda"; `auto` means what it means on this machine."""
    return (choose_device(device) if device == "auto" else device).partition(":")[0]
