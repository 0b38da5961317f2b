# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading and writing ONNX files, with errors that an operator understands."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # ships no types
from onnx import ModelProto

from vision_line.devices.model.onnx_header import parse_onnx_header
from vision_line.errors import ModelError

#: From 13 on Q/DQ know channels; ONNX Runtime's quantized kernels stop below 21.
OPSETS = range(13, 21)


def load_model(path: Path) -> ModelProto:
    """Read an ONNX file.

    Raises:
        ModelError: missing, no ONNX file, or one that keeps weights in other files.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc
    except DecodeError as exc:
        raise ModelError(f"{path}: not an ONNX file: {exc}") from exc
    if not model.graph.node:
        raise ModelError(f"{path}: not an ONNX file, or one without nodes")
    if elsewhere := parse_onnx_header(path.read_bytes()).elsewhere:
        files = ", ".join(map(repr, elsewhere))
        raise ModelError(f"{path}: keeps weights outside, in {files}, where no hash covers them; expected one file")
    return model


def save_model(model: ModelProto, path: Path) -> None:
    """Write `model` at once: a reader meets the old file or the whole new one.

    Raises:
        ModelError: the folder cannot be written to.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        partial.write_bytes(model.SerializeToString())
        partial.replace(path)
    except OSError as exc:
        raise ModelError(f"{path}: cannot be written: {exc.strerror}") from exc


def default_opset(model: ModelProto) -> int:
    """Return the version of the standard operators, 0 where the file names none."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
