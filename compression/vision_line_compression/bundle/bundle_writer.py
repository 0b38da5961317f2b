# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes the folder that `vision-line --model` takes: a model and its description."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue, ValidationError

from vision_line.devices.model.bundle import (
    BUNDLE_FILE,
    BUNDLE_VERSION,
    Bundle,
    BundleInput,
    BundleModel,
    BundlePreprocessing,
    BundleThresholds,
)
from vision_line.devices.model.model import DEFAULT_NMS_IOU, DEFAULT_SCORE, open_model
from vision_line.devices.model.tasks import GPU_TASKS, task_problem
from vision_line.devices.preprocessing.definition import DEFINITION
from vision_line.errors import ModelError
from vision_line_compression.files import faults_of
from vision_line_compression.quantize.float16 import write_float16

MODEL_FILE = "model.onnx"


def write_bundle(
    folder: Path,
    onnx: Path,
    name: str,
    classes: Sequence[str] | None = None,
    *,
    input_shapes_hw: Sequence[tuple[int, int]],
    score: float = DEFAULT_SCORE,
    nms_iou: float = DEFAULT_NMS_IOU,
    lineage: Mapping[str, JsonValue] | None = None,
    results: Mapping[str, JsonValue] | None = None,
    failed_gates: Sequence[str] = (),
) -> Path:
    """Write `folder` with a copy of `onnx` and its bundle.json, and return the folder once the runtime opens it.

    Head, stride, precision and, where `classes` is None, the class names come from the file. The description is
    replaced last, so that a reader meets a whole bundle or refuses the file by its hash. A folder that holds a bundle
    is overwritten; engines in it go stale by the model's hash.

    Raises:
        ModelError: the file is no detection model, a value does not fit the bundle's schema, or the folder cannot be
            written.
    """
    found = open_model(onnx)
    content = found.content(onnx)
    try:
        bundle = Bundle(
            bundle_version=BUNDLE_VERSION,
            name=name,
            task=found.head.task,
            classes=tuple(classes) if classes is not None else found.classes,
            stride=found.stride,
            head=found.head,
            model=BundleModel(
                file=MODEL_FILE,
                sha256=found.sha256,
                precision=found.precision,
                quantization=found.quantization,
                input=BundleInput(name=found.input_name, dtype=found.input_dtype, dynamic=found.dynamic),
            ),
            input_shapes_hw=tuple((height, width) for height, width in input_shapes_hw),
            preprocessing=BundlePreprocessing(definition=DEFINITION),
            thresholds=BundleThresholds(score=score, nms_iou=nms_iou),
            lineage=dict(lineage or {}),
            results=dict(results or {}),
            failed_gates=tuple(failed_gates),
        )
    except ValidationError as exc:
        raise ModelError(f"{folder}: {'; '.join(faults_of(exc))}") from exc
    if len(bundle.classes) != len(found.classes):
        raise ModelError(f"{onnx}: expected {len(found.classes)} class names, found {len(bundle.classes)}")
    replace_files(folder, {MODEL_FILE: content, BUNDLE_FILE: describe_bundle(bundle)})
    open_model(folder)
    return folder


def amend_bundle(folder: Path, changes: Mapping[str, object]) -> None:
    """Change keys of a bundle's description; its files stay.

    Raises:
        ModelError: no bundle, or one that cannot be written.
    """
    model = open_model(folder)
    if model.bundle is None:
        raise ModelError(f"{folder}: expected a bundle's folder")
    replace_files(model.path.parent, {BUNDLE_FILE: describe_bundle(model.bundle.model_copy(update=dict(changes)))})


def write_float16_bundle(source: Path, folder: Path) -> Path:
    """Write a bundle with the FP16 variant of the model in `source`, a bundle or an ONNX file, and return its folder.

    It is a model of its own, with its own hash: what was measured on the other is not said of it, but for the gates
    that the other did not pass.

    Raises:
        ModelError: `source` cannot be used, is for a task that GPUs do not run, or cannot become half; or `folder`
        exists or cannot be written.
    """
    model = open_model(source)
    if problem := task_problem(model.head.task, GPU_TASKS):
        raise ModelError(f"{source}: {problem} in float16, which is for GPUs")
    lineage = {} if model.bundle is None else model.bundle.lineage
    if folder.exists():
        raise ModelError(f"{folder}: expected a folder that does not exist yet")
    with tempfile.TemporaryDirectory(prefix="vision-line-half-") as work:
        return write_bundle(
            folder,
            write_float16(model.path, Path(work) / MODEL_FILE),
            model.name,
            model.classes,
            input_shapes_hw=model.input_shapes_hw,
            score=model.score_threshold,
            nms_iou=model.nms_iou,
            lineage=lineage | {"half_of_sha256": model.sha256},
            failed_gates=() if model.bundle is None else model.bundle.failed_gates,
        )


def describe_bundle(bundle: Bundle) -> bytes:
    """Return the content of `bundle.json`."""
    return f"{bundle.model_dump_json(indent=2)}\n".encode()


def replace_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write `files` by name into `folder`, in their order: none is half written, and the description comes last.

    Raises:
        ModelError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / f"{name}.part").write_bytes(data)
        for name in files:
            (folder / f"{name}.part").replace(folder / name)
    except OSError as exc:
        raise ModelError(f"{folder}: cannot be written: {exc.strerror}") from exc
