# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks the shipped model on this processor: which form runs, why, and whether its proof holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vision_line.doctor.finding import Finding, Level
from vision_line.errors import DeviceError, ModelError


def find_proof(path: Path | None = None) -> Iterator[Finding]:
    """Compile the bundle or file at `path`, None: the shipped one, for the CPU, and run its proof; about a second."""
    from vision_line.devices.model.model import open_model
    from vision_line.devices.preprocessing.shapes import plan_input_shapes
    from vision_line.devices.selection import open_device

    try:
        model = open_model(path)
        device = open_device("cpu", model, plan_input_shapes(model, []), lambda: None)
    except (DeviceError, ModelError) as exc:
        remedy = "use another model, precision or machine; vision-line-compress prove says more"
        yield Finding("proof", Level.FAIL, str(exc), "the cpu device would not match the model", remedy)
        return
    device.close()
    used = device.description
    what = f"{model.name} runs as {used.form}"
    if model.precision == "int8" and used.precision != "int8":
        meaning = f"correct, but slower than INT8: {used.form_reason}"
        remedy = "give the bundle the unsigned form: vision-line-compress prove"
        yield Finding("proof", Level.WARN, what, meaning, remedy)
    else:
        yield Finding("proof", Level.OK, what, used.form_reason)
