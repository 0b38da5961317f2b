# SPDX-License-Identifier: AGPL-3.0-or-later
"""The float file that a bundle's model was quantized from, and its FP16 variant for GPUs where INT8 is slower."""

from __future__ import annotations

from pathlib import Path

from vision_line.devices.model.model import Model, open_model
from vision_line.errors import ModelError
from vision_line_compression.files import sha256_of
from vision_line_compression.network.onnx_file import load_model, save_model
from vision_line_compression.quantize.float16 import write_float16

_QUANTIZED = "float_sha256"  # key of the file's metadata: which float file it was made of


def write_wholly_float16(model: Model, float_onnx: Path, output: Path) -> Path:
    """Write the FP16 variant of the float file from which `model` was quantized to `output`, and return that.

    It says of which file it was made: what was measured on that one is said of it.

    Raises:
        ModelError: it is no float file of such a model, or cannot be read or written.
    """
    found = open_model(float_onnx)
    for what in ("precision", "head", "stride", "input_name"):
        expected = "fp32" if what == "precision" else getattr(model, what)
        if getattr(found, what) != expected:
            raise ModelError(f"{float_onnx}: expected {what} {expected}, found {getattr(found, what)}")
    if len(found.classes) != len(model.classes):
        raise ModelError(f"{float_onnx}: expected {len(model.classes)} classes, found {len(found.classes)}")
    write_float16(float_onnx, output)
    written = load_model(output)
    written.metadata_props.add(key=_QUANTIZED, value=sha256_of(float_onnx))
    save_model(written, output)
    return output


def quantized_of(path: Path) -> str | None:
    """Return the hash of the float file that an FP16 variant was made of, None: it does not say.

    Raises:
        ModelError: it cannot be read.
    """
    found = (entry.value for entry in load_model(path).metadata_props if entry.key == _QUANTIZED)
    return next(found, None)
