# SPDX-License-Identifier: AGPL-3.0-or-later
"""ONNX files: exported from a checkpoint, read and written, with errors that an operator understands."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # ships no types
from onnx import ModelProto

from vision_line.devices.model.onnx_header import parse_onnx_header
from vision_line.errors import ModelError

#: From 13 on Q/DQ know channels; ONNX Runtime's quantized kernels stop below 21.
OPSETS = range(13, 21)

#: What Ultralytics would look for online, install by itself, or write into the user's folders.
_OFFLINE = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}

_PATH = re.compile(r"(?:[A-Za-z]:)?[/\\](?:[^/\\'\",\s]+[/\\])+([^/\\'\",\s]+)")


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


def export_onnx(
    checkpoint: Path, output: Path, *, opset: int = 17, shape_hw: tuple[int, int] = (640, 640), end2end: bool = False
) -> Path:
    """Export a detection checkpoint to `output`, simplified by onnxslim, batch norms folded, all sizes free.

    Ultralytics' metadata is kept, less the date, so that the same checkpoint gives the same file, and less the paths of
    the machine that trained. `shape_hw` is what the metadata names as the input's shape. `end2end` takes the NMS-free
    head of v10 and 26, which quantization harms more; else their one-to-many head is exported, as Ultralytics' own
    default is, and the runtime suppresses. Needs the `compress` extra; nothing is downloaded or installed.

    Raises:
        ModelError: no detection checkpoint, an opset outside 13..20, or an export that is not as promised.
    """
    if opset not in OPSETS:
        raise ModelError(f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, found {opset}")
    for name, value in _OFFLINE.items():
        os.environ.setdefault(name, value)
    _check_checkpoint(checkpoint)
    with tempfile.TemporaryDirectory(prefix="vision-line-export-") as folder:
        copy = Path(folder) / f"{output.stem}.pt"  # Ultralytics writes beside the checkpoint
        shutil.copyfile(checkpoint, copy)
        model = load_model(_export(copy, opset, shape_hw, end2end=end2end))
    _check_free_sizes(model, output)
    _check_folded(model, output)
    del model.graph.value_info[:]
    _tidy_metadata(model)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, output)
    return output


def _tidy_metadata(model: ModelProto) -> None:
    entries = {entry.key: entry.value for entry in model.metadata_props if entry.key != "date"}
    for key in {"description", "args"} & entries.keys():
        entries[key] = _PATH.sub(r"\1", entries[key])
    onnx.helper.set_model_props(model, entries)


def _check_checkpoint(path: Path) -> None:
    from vision_line_compression.network.checkpoint import load_checkpoint

    load_checkpoint(path)  # refuses what is foreign before Ultralytics unpickles it


def _export(copy: Path, opset: int, shape_hw: tuple[int, int], *, end2end: bool) -> Path:
    from ultralytics.models import YOLO

    yolo = YOLO(copy)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter announces its own future
        exported = yolo.export(
            format="onnx",
            imgsz=list(shape_hw),
            dynamic=True,
            opset=opset,
            simplify=True,
            device="cpu",
            verbose=False,
            nms=False if end2end else None,  # False asks for the NMS-free head
        )
    return Path(exported)


def _check_free_sizes(model: ModelProto, output: Path) -> None:
    found = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    if len(found) != 4 or found[1] != 3 or any(isinstance(found[axis], int) for axis in (0, 2, 3)):
        raise ModelError(f"{output}: expected an input (batch, 3, height, width) of free sizes, found {found}")


def _check_folded(model: ModelProto, output: Path) -> None:
    left = [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]
    if left:
        raise ModelError(f"{output}: expected batch norms folded into convolutions, found {left}")
