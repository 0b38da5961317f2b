# SPDX-License-Identifier: AGPL-3.0-or-later
"""The model that a device runs: opened from a bundle or from an ONNX file that Ultralytics exported."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vision_line.devices.model.agreement import place_columns
from vision_line.devices.model.bundle import BUNDLE_FILE, Bundle, BundleVariant, InputDtype, check_class_names
from vision_line.devices.model.heads import HeadKind, head_of
from vision_line.devices.model.masks import COEFFICIENTS, MASK_STRIDE
from vision_line.devices.model.onnx_header import FLOAT16, FLOAT32, OnnxHeader, TensorInfo, parse_onnx_header
from vision_line.devices.model.proof import Proof, unpack_proof
from vision_line.devices.model.tasks import ModelTask, task_problem
from vision_line.errors import ModelError
from vision_line.ports import ShapeHW

#: The bundle that is used where none is named.
SHIPPED_BUNDLE = Path(__file__).parents[2] / "models" / "pcb-demo"

#: Ultralytics' own defaults for prediction, for ONNX files without a bundle.
DEFAULT_SCORE = 0.25
DEFAULT_NMS_IOU = 0.7

_DTYPES: dict[int, InputDtype] = {FLOAT32: "float32", FLOAT16: "float16"}

_WANTED = "a detection, OBB or segmentation model exported by Ultralytics to ONNX"


@dataclass(frozen=True, slots=True)
class ModelVariant:
    """One way in which the network of a model is written, in a file of its own; "" for a precision: the model's."""

    name: str
    path: Path
    sha256: str = ""
    precision: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A model of upright boxes, rotated ones or masks that was checked and can be given to a device.

    `input_shapes_hw` are the shapes it was evaluated at (a bundle's), or the one it was exported with; `dynamic` says
    whether others are possible at all. Two models with the same `sha256` give the same detections. `variants` are the
    ways in which it is written for processors, first that of `path`, and `gpu_variants` those that GPUs compute faster,
    the best first; `proof` is what engines of it are proven by, None: there is none.
    `quantization` is the encoding that the file says its Q/DQ pairs have, None: it says nothing. `input_dtype` is what
    `path` takes; each variant's file says its own.
    """

    name: str
    path: Path
    sha256: str
    precision: str
    classes: tuple[str, ...]
    stride: int
    head: HeadKind
    input_name: str
    input_shapes_hw: tuple[ShapeHW, ...]
    dynamic: bool
    score_threshold: float
    nms_iou: float
    bundle: Bundle | None
    variants: tuple[ModelVariant, ...]
    gpu_variants: tuple[ModelVariant, ...] = ()
    quantization: str | None = None
    input_dtype: InputDtype = "float32"
    proof: Proof | None = field(default=None, compare=False, repr=False)

    def content(self, path: Path) -> bytes:
        """Return the content of `path`, one of the model's files: what an engine is made of is what was checked.

        Raises:
            ModelError: it cannot be read, or is another than when the model was opened.
        """
        files = (*self.variants, *self.gpu_variants)
        known = {self.path: self.sha256} | {variant.path: variant.sha256 for variant in files}
        content = _read(path)
        if known.get(path, "") not in ("", hashlib.sha256(content).hexdigest()):
            raise ModelError(f"{path}: has changed since the model was opened")
        return content


def open_model(path: Path | None) -> Model:
    """Return the model in the bundle folder or ONNX file `path`; None means the bundle that is shipped.

    Raises:
        ModelError: missing, corrupt, altered, another task's model, or an input that is not (n, 3, h, w) of floats.
    """
    path = SHIPPED_BUNDLE if path is None else path
    if path.is_dir():
        return _open_bundle(path)
    if path.name == BUNDLE_FILE:
        return _open_bundle(path.parent)
    return _open_exported(path)


def _open_bundle(folder: Path) -> Model:
    bundle = _read_bundle(folder / BUNDLE_FILE)
    path = folder / bundle.model.file
    content = _read_hashed(path, bundle.model.sha256)
    header = _header(path, content)
    network_input = _checked_input(path, header)
    _check_bundle_input(path, bundle, network_input)
    if (found := _DTYPES[network_input.element]) != bundle.model.input.dtype:
        raise ModelError(f"{path}: expected a {bundle.model.input.dtype} input as in {BUNDLE_FILE}, found {found}")
    _check_class_count(path, header, bundle.head, len(bundle.classes))
    return Model(
        name=bundle.name,
        path=path,
        sha256=bundle.model.sha256,
        precision=bundle.model.precision,
        classes=bundle.classes,
        stride=bundle.stride,
        head=bundle.head,
        input_name=network_input.name,
        input_shapes_hw=bundle.input_shapes_hw,
        dynamic=bundle.model.input.dynamic,
        score_threshold=bundle.thresholds.score,
        nms_iou=bundle.thresholds.nms_iou,
        bundle=bundle,
        variants=(
            ModelVariant(bundle.model.variant, path, bundle.model.sha256),
            *_variants(folder, bundle, bundle.model.forms),
        ),
        gpu_variants=tuple(_variants(folder, bundle, bundle.model.gpu_variants)),
        quantization=bundle.model.quantization,
        input_dtype=bundle.model.input.dtype,
        proof=_proof(folder, bundle),
    )


def _variants(folder: Path, bundle: Bundle, described: Iterable[BundleVariant]) -> Iterator[ModelVariant]:
    """Yield further variants of a bundle's model, each with the input of the first."""
    for variant in described:
        path = folder / variant.file
        header = _header(path, _read_hashed(path, variant.sha256))
        _check_bundle_input(path, bundle, _checked_input(path, header))
        _check_class_count(path, header, bundle.head, len(bundle.classes))
        yield ModelVariant(variant.form, path, variant.sha256, header.precision)


def _proof(folder: Path, bundle: Bundle) -> Proof | None:
    if bundle.proof is None:
        return None
    path = folder / bundle.proof.file
    content = _read_hashed(path, bundle.proof.sha256)
    try:
        proof = unpack_proof(content)
    except ValueError as exc:
        raise ModelError(f"{path}: not a usable proof: {exc}") from exc
    if bundle.task is ModelTask.SEGMENT and any(one.masks is None for one in proof.references.values()):
        raise ModelError(f"{path}: not a usable proof: expected masks of its places, as of a {bundle.head} head")
    wanted = place_columns(bundle.head)
    if any(reference.places.shape[2] != wanted for reference in proof.references.values()):
        raise ModelError(f"{path}: not a usable proof: expected places of {wanted} columns, as of a {bundle.head} head")
    return proof


def _read_hashed(path: Path, sha256: str) -> bytes:
    content = _read(path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(f"{path}: expected sha256 {sha256} as in {BUNDLE_FILE}, found {found}")
    return content


def _read_bundle(path: Path) -> Bundle:
    try:
        return Bundle.model_validate_json(_read(path))
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in exc.errors())
        raise ModelError(f"{path}: {faults}") from exc


def _check_bundle_input(path: Path, bundle: Bundle, found: TensorInfo) -> None:
    wanted = bundle.model.input
    if found.name != wanted.name:
        raise ModelError(f"{path}: expected an input {wanted.name!r} as in {BUNDLE_FILE}, found {found.name!r}")
    fixed = _fixed_shape(found)
    if wanted.dynamic and fixed is not None:
        raise ModelError(f"{path}: {BUNDLE_FILE} says the input is dynamic, found {fixed} (h, w) only")
    if fixed is not None and bundle.input_shapes_hw != (fixed,):
        raise ModelError(f"{path}: {BUNDLE_FILE} names {bundle.input_shapes_hw}, the model has {fixed} (h, w) only")


def _open_exported(path: Path) -> Model:
    content = _read(path)
    sha256 = hashlib.sha256(content).hexdigest()
    header = _header(path, content)
    metadata = header.metadata
    task = _task(path, metadata)
    classes = _class_names(path, metadata)
    network_input = _checked_input(path, header)
    fixed = _fixed_shape(network_input)
    head = _head(path, header, task, len(classes))
    _check_class_count(path, header, head, len(classes))
    return Model(
        name=path.stem,
        path=path,
        sha256=sha256,
        precision=header.precision,
        classes=classes,
        stride=_whole_number(path, metadata, "stride"),
        head=head,
        input_name=network_input.name,
        input_shapes_hw=(fixed or _exported_shape(path, metadata),),
        dynamic=fixed is None,
        score_threshold=DEFAULT_SCORE,
        nms_iou=DEFAULT_NMS_IOU,
        bundle=None,
        variants=(ModelVariant(metadata.get("quantization") or header.precision, path, sha256),),
        quantization=metadata.get("quantization"),
        input_dtype=_DTYPES[network_input.element],
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise ModelError(f"{path}: not found, expected a bundle folder or an ONNX file") from exc
    except OSError as exc:
        raise ModelError(f"{path}: cannot be read: {exc.strerror}") from exc


def _header(path: Path, content: bytes) -> OnnxHeader:
    try:
        header = parse_onnx_header(content)
    except ValueError as exc:  # UnicodeDecodeError among them
        raise ModelError(f"{path}: not a usable ONNX file: {exc}") from exc
    if header.elsewhere:
        files = ", ".join(map(repr, header.elsewhere))
        raise ModelError(f"{path}: keeps weights outside, in {files}, where no hash covers them; expected one file")
    return header


def _checked_input(path: Path, header: OnnxHeader) -> TensorInfo:
    found = [(info.name, info.shape) for info in header.inputs]
    if len(header.inputs) != 1 or len(header.inputs[0].shape) != 4:
        raise ModelError(f"{path}: expected one input (1, 3, height, width), found {found}")
    network_input = header.inputs[0]
    batch, channels, height, width = network_input.shape
    if channels not in (3, None) or batch not in (1, None) or (height is None) != (width is None):
        raise ModelError(f"{path}: expected an input (1, 3, height, width), found {network_input.shape}")
    if network_input.element not in _DTYPES:
        raise ModelError(
            f"{path}: expected a float32 or float16 input, found ONNX element type {network_input.element}"
        )
    return network_input


def _fixed_shape(network_input: TensorInfo) -> ShapeHW | None:
    height, width = network_input.shape[2:]
    return None if height is None or width is None else (height, width)


def _task(path: Path, metadata: dict[str, str]) -> ModelTask:
    task = metadata.get("task")
    if task is None:
        raise ModelError(f"{path}: no 'task' in its metadata, expected {_WANTED} or a bundle")
    if problem := task_problem(task):
        raise ModelError(f"{path}: {problem}")
    return ModelTask(task)


def _literal(path: Path, metadata: dict[str, str], key: str) -> Any:
    try:
        return ast.literal_eval(metadata[key])
    except KeyError as exc:
        raise ModelError(f"{path}: no {key!r} in its metadata, expected {_WANTED}") from exc
    except (ValueError, SyntaxError) as exc:
        raise ModelError(f"{path}: metadata {key!r} cannot be read: {metadata[key][:80]!r}") from exc


def _class_names(path: Path, metadata: dict[str, str]) -> tuple[str, ...]:
    names = _literal(path, metadata, "names")
    if not isinstance(names, dict) or sorted(names) != list(range(len(names))) or not names:
        found = metadata["names"][:80]
        raise ModelError(f"{path}: metadata 'names': expected {{0: name, 1: name ...}}, found {found!r}")
    classes = tuple(str(names[index]) for index in range(len(names)))
    try:
        check_class_names(classes)
    except ValueError as exc:
        raise ModelError(f"{path}: metadata 'names': {exc}") from exc
    return classes


def _whole_number(path: Path, metadata: dict[str, str], key: str) -> int:
    value = _literal(path, metadata, key)
    if not isinstance(value, int) or value < 1:
        raise ModelError(f"{path}: metadata {key!r}: expected a whole number, found {metadata[key][:80]!r}")
    return value


def _exported_shape(path: Path, metadata: dict[str, str]) -> ShapeHW:
    match _literal(path, metadata, "imgsz"):
        case [int(height), int(width)] if height > 0 and width > 0:
            return height, width
        case int(side) if side > 0:
            return side, side
    raise ModelError(f"{path}: metadata 'imgsz': expected [height, width], found {metadata['imgsz'][:80]!r}")


def _head(path: Path, header: OnnxHeader, task: ModelTask, classes: int) -> HeadKind:
    found = [info.shape for info in header.outputs]
    if task is ModelTask.SEGMENT and [len(shape) for shape in found] != [3, 4]:
        raise ModelError(f"{path}: expected two outputs, of three axes and of four, found {found}")
    if task is not ModelTask.SEGMENT and [len(shape) for shape in found] != [3]:
        raise ModelError(f"{path}: expected one output of three axes, found {found}")
    _, rows, columns = header.outputs[0].shape
    raw, end2end = (head_of(task, is_end2end=is_end2end) for is_end2end in (False, True))
    if header.metadata.get("end2end") == "True" or _exported_with_nms(path, header.metadata):
        return end2end
    # exports from before the metadata said so
    return end2end if columns == end2end.rows(classes) and rows != raw.rows(classes) else raw


def _exported_with_nms(path: Path, metadata: dict[str, str]) -> bool:
    if "args" not in metadata:
        return False
    arguments = _literal(path, metadata, "args")
    return isinstance(arguments, dict) and arguments.get("nms") is True


def _check_class_count(path: Path, header: OnnxHeader, head: HeadKind, classes: int) -> None:
    shapes = [info.shape for info in header.outputs]
    size = head.rows(classes)
    wanted, axis = ((1, "n", size), 2) if head.is_end2end else ((1, size, "n"), 1)
    first, *others = shapes or [()]
    fits = len(first) == 3 and first[axis] in (size, None)
    if head.task is ModelTask.SEGMENT:
        if not fits or len(others) != 1 or len(others[0]) != 4 or others[0][1] not in (COEFFICIENTS, None):
            both = f"{wanted} and (1, {COEFFICIENTS}, h / {MASK_STRIDE}, w / {MASK_STRIDE})"
            raise ModelError(f"{path}: expected outputs {both} for {classes} classes and head {head}, found {shapes}")
    elif not fits or others:
        raise ModelError(f"{path}: expected one output {wanted} for {classes} classes and head {head}, found {shapes}")
