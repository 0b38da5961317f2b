# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a model was measured by: the processor's instruction set and the form that ran; wrong INT8 is never measured."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from vision_line.devices.model.model import Model
from vision_line.errors import ConfigError, DeviceError
from vision_line.ports import DeviceDescription
from vision_line_compression.evaluate.results import MeasuredExecution

INT8 = "int8"


def execution(device: DeviceDescription) -> MeasuredExecution:
    """Return what of an open device a figure has to name."""
    return MeasuredExecution(instruction_set=device.instruction_set, form=device.form, precision=device.precision)


def require_integer_execution(model: Model, device: DeviceDescription) -> None:
    """Let an engine pass that computes an INT8 model on integers; of any other model, let all pass.

    Raises:
        DeviceError: none of its forms is computed rightly on integers here, so that float execution runs instead.
    """
    if model.precision == INT8 and device.precision != INT8:
        raise DeviceError(
            f"{model.path}: not measured: on {device.instruction_set} its INT8 engine is not used, and float execution "
            f"would be measured instead ({device.form_reason})"
        )


def in_form(model: Model, name: str) -> Model:
    """Return `model` in one of its forms alone.

    Raises:
        ConfigError: it has no form of this name.
    """
    form = next((form for form in model.forms if form.name == name), None)
    if form is None:
        raise ConfigError(f"{model.path}: expected a form among {[form.name for form in model.forms]}, found {name!r}")
    sha256 = hashlib.sha256(form.path.read_bytes()).hexdigest()
    return replace(model, path=form.path, sha256=sha256, forms=(form,))
