# SPDX-License-Identifier: AGPL-3.0-or-later
"""What can be evaluated: a bundle, an ONNX file, or a checkpoint that is exported first."""

from __future__ import annotations

from pathlib import Path

from vision_line.devices.model.model import Model, open_model


def open_subject(path: Path, work: Path) -> Model:
    """Return the model at `path`; a checkpoint (`.pt`) becomes `work`/NAME.onnx, as it would for a device.

    Raises:
        ModelError: missing, corrupt, or not a detection model.
    """
    if path.suffix != ".pt":
        return open_model(path)
    from vision_line_compression.network.onnx_export import export_onnx  # brings torch, which bundles do not need

    return open_model(export_onnx(path, work / f"{path.stem}.onnx"))
