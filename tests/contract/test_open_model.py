# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models are opened from bundles and exported ONNX files, or refused with one sentence that names the fault."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from vision_line.devices.cpu.openvino_engine import OpenVino
from vision_line.devices.model.heads import HeadKind
from vision_line.devices.model.model import open_model
from vision_line.errors import ModelError
from vision_line_compression.network.onnx_file import load_model

WriteModel = Callable[..., Path]


def _write_bundle(folder: Path, model: bytes, **changes: Any) -> Path:
    """Make a bundle of `model`; `changes` replace keys, `a__b` the key b of table a."""
    document: dict[str, Any] = {
        "bundle_version": 1,
        "name": "tiny",
        "task": "detect",
        "classes": ["red", "green", "blue"],
        "stride": 32,
        "head": "yolov8",
        "model": {
            "file": "model.onnx",
            "sha256": hashlib.sha256(model).hexdigest(),
            "precision": "fp32",
            "quantization": None,
            "input": {"name": "images", "layout": "NCHW", "dtype": "float32", "dynamic": True},
        },
        "input_shapes_hw": [[64, 128], [128, 64]],
        "preprocessing": {"definition": 1, "scale": "1/255", "padding_value": 114, "colour": "RGB"},
        "thresholds": {"score": 0.3, "nms_iou": 0.6},
        "lineage": {"parent": "none", "epochs": 0},
        "results": {"map50": 0.5},
    }
    for key, value in changes.items():
        table, _, inner = key.rpartition("__")
        (document[table] if table else document)[inner] = value
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    (folder / "bundle.json").write_text(json.dumps(document))
    return folder


def test_a_dynamic_export_is_read_from_its_metadata(write_model: WriteModel) -> None:
    """Names, stride, size, head and precision come from the file itself."""
    path = write_model()

    model = open_model(path)

    assert (model.name, model.classes, model.stride) == ("tiny", ("red", "green", "blue"), 32)
    assert (model.head, model.precision, model.dynamic) == (HeadKind.YOLOV8, "fp32", True)
    assert (model.input_name, model.input_shapes_hw) == ("images", ((64, 128),))
    assert (model.score_threshold, model.nms_iou, model.bundle) == (0.25, 0.7, None)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_static_export_has_its_one_shape(write_model: WriteModel) -> None:
    """The graph's fixed input size wins over the metadata."""
    model = open_model(write_model((96, 160)))

    assert (model.dynamic, model.input_shapes_hw) == (False, ((96, 160),))


def test_quantized_exports_are_int8(write_model: WriteModel) -> None:
    """Q/DQ nodes make a model INT8."""
    assert open_model(write_model(quantized=True)).precision == "int8"


@pytest.mark.parametrize(
    ("arguments", "head"),
    [
        ({}, HeadKind.YOLOV8),
        ({"end2end": True}, HeadKind.END2END),
        ({"end2end": True, "args": None}, HeadKind.END2END),
        ({"end2end": True, "metadata_end2end": "False", "args": "{'nms': True}"}, HeadKind.END2END),
        ({"end2end": True, "metadata_end2end": None, "shape_hw": (64, 96)}, HeadKind.END2END),
        ({"rotated": True}, HeadKind.YOLOV8_OBB),
        ({"rotated": True, "end2end": True}, HeadKind.END2END_OBB),
        ({"rotated": True, "end2end": True, "metadata_end2end": None, "shape_hw": (64, 96)}, HeadKind.END2END_OBB),
    ],
    ids=[
        *("raw", "end-to-end", "end-to-end, no arguments", "exported with NMS", "from before the metadata said so"),
        *("rotated", "rotated end-to-end", "rotated, from before"),
    ],
)
def test_the_head_is_recognised(write_model: WriteModel, arguments: dict[str, Any], head: HeadKind) -> None:
    """The metadata says which head it is, and where it does not a last axis of 6."""
    assert open_model(write_model(**arguments)).head is head


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "segment"}, "expected two outputs, of three axes and of four"),
        ({"task": "pose"}, r"is a model for the task 'pose' \(poses: keypoints\), expected 'detect' or 'obb'"),
        ({"task": "classify"}, r"task 'classify' \(classification of whole images\), expected"),
        ({"task": "new"}, "is a model for the task 'new', expected 'detect' or 'obb'"),
        ({"task": None}, "no 'task' in its metadata"),
        ({"names": None}, "no 'names' in its metadata"),
        ({"names": "{0: 'red'"}, "metadata 'names' cannot be read"),
        ({"names": "{1: 'red'}"}, "metadata 'names': expected"),
        ({"names": "{0: 'red', 1: 'green'}", "shape_hw": (64, 64)}, "for 2 classes"),
        ({"stride": "'x'"}, "metadata 'stride': expected a whole number"),
        ({"imgsz": "[64]"}, "metadata 'imgsz': expected"),
        ({"args": "{'nms': True}", "shape_hw": (64, 64)}, "expected one output"),
        ({"task": "obb", "shape_hw": (64, 64)}, "expected one output .*for 3 classes and head yolov8-obb"),
        ({"channels": 1}, r"expected an input \(1, 3, height, width\)"),
        ({"batch": 4, "shape_hw": (64, 64)}, r"expected an input \(1, 3, height, width\)"),
        ({"element": TensorProto.UINT8}, "expected a float32 or float16 input"),
    ],
)
def test_unusable_exports_are_refused(write_model: WriteModel, arguments: dict[str, Any], message: str) -> None:
    """Another task, missing metadata or a wrong input is one clear error that names the file."""
    path = write_model(**arguments)

    with pytest.raises(ModelError, match=message) as caught:
        open_model(path)

    assert str(path) in str(caught.value)


def _move(tensor: onnx.TensorProto, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def _moved_initializer(model: onnx.ModelProto) -> None:
    _move(model.graph.initializer[0], "w.bin")


def _moved_constant(model: onnx.ModelProto) -> None:
    node = model.graph.node.add(op_type="Constant", output=["c"])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=numpy_helper.from_array(np.zeros(2)))
    _move(node.attribute[0].t, "../w.bin")


def _moved_in_branch(model: onnx.ModelProto) -> None:
    node = model.graph.node.add(op_type="If", output=["c"])
    branch = helper.make_graph([], "b", [], [], [numpy_helper.from_array(np.zeros(2), "w")])
    _move(branch.initializer[0], "/etc/w.bin")
    node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH, g=branch)


def _moved_in_function(model: onnx.ModelProto) -> None:
    node = model.functions.add(name="f", domain="d").node.add(op_type="Constant", output=["c"])
    node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=numpy_helper.from_array(np.zeros(2)))
    _move(node.attribute[0].t, "w.bin")


@pytest.mark.parametrize("move", [_moved_initializer, _moved_constant, _moved_in_branch, _moved_in_function])
def test_weights_in_other_files_are_refused(
    tmp_path: Path, write_model: WriteModel, move: Callable[[onnx.ModelProto], None]
) -> None:
    """No hash covers them, wherever in the model they are used: as an export, in a bundle, and for compression."""
    path = write_model()
    model = onnx.load(path)
    move(model)
    path.write_bytes(model.SerializeToString())
    bundle = _write_bundle(tmp_path / "bundle", path.read_bytes())

    for open_it, file in ((open_model, path), (open_model, bundle), (load_model, path)):
        with pytest.raises(ModelError, match=r"keeps weights outside, in '.*w\.bin', where no hash covers them"):
            open_it(file)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "a name without a letter"),
        (" \t", "a name without a letter"),
        ("green", "names must differ"),
        ("green ", "names must differ"),
        ("a\x1b[2Jb", "no control or text direction characters"),
        ("a\nb", "no control"),
        ("a\x00b", "no control"),
        ("a\x9bb", "no control"),
        ("a\u202eb", "no control or text direction characters"),
        ("a\u2066b", "no control"),
        ("a\u2028b", "no control"),
        ("\ufeffa", "no control"),
        ("a" * 101, "a name of 101 characters, expected at most 100"),
    ],
)
def test_class_names_that_would_be_misread_are_refused(
    tmp_path: Path, write_model: WriteModel, name: str, message: str
) -> None:
    """They go to terminals and spreadsheets; the refusal itself shows none of them raw."""
    path = write_model(names=repr({0: name, 1: "green", 2: "blue"}))
    bundle = _write_bundle(tmp_path / "bundle", path.read_bytes(), classes=[name, "green", "blue"])

    for file in (path, bundle):
        with pytest.raises(ModelError) as caught:
            open_model(file)
        if file == path or name:  # the schema itself wants one character
            assert message in str(caught.value) or (file == bundle and "at most 100 characters" in str(caught.value))
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["Kurzschluß", "短路", "می‌شود", "mouse bite", "1", "a/b (c)"])
def test_class_names_of_any_language_are_taken(write_model: WriteModel, name: str) -> None:
    """Letters, digits, blanks and signs; some scripts need joiners, which are invisible too."""
    path = write_model(names=repr({0: name, 1: "green", 2: "blue"}))
    assert open_model(path).classes[0] == name


def test_a_file_that_changes_after_it_was_opened_is_refused(write_model: WriteModel) -> None:
    """An engine is made of what was checked."""
    path = write_model()
    model = open_model(path)
    assert model.content(path) == path.read_bytes()
    path.write_bytes(write_model(channels=3, names="{0: 'x', 1: 'y', 2: 'z'}").read_bytes())

    with pytest.raises(ModelError, match="has changed since the model was opened"):
        OpenVino(1).compiled(model, path, (64, 64), low_precision=False)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x3a\xff\xff", b"\x0a" * 3, bytes(range(256))])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """What is no ONNX file is said to be none."""
    path = tmp_path / "other.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match="not a usable ONNX file"):
        open_model(path)


def test_every_cut_file_is_refused(write_model: WriteModel) -> None:
    """A file cut off anywhere is never taken for another model and never raises anything but ModelError."""
    path = write_model(quantized=True)
    whole = path.read_bytes()

    for end in range(0, len(whole), 37):
        path.write_bytes(whole[:end])
        with pytest.raises(ModelError):
            open_model(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error says which file was looked for."""
    with pytest.raises(ModelError, match=r"nowhere\.onnx: not found"):
        open_model(tmp_path / "nowhere.onnx")


def test_a_bundle_is_read(tmp_path: Path, write_model: WriteModel) -> None:
    """A bundle's own words decide: name, shapes, thresholds."""
    folder = _write_bundle(tmp_path / "bundle", write_model(names=None).read_bytes())

    for path in (folder, folder / "bundle.json"):
        model = open_model(path)

        assert (model.name, model.input_shapes_hw) == ("tiny", ((64, 128), (128, 64)))
        assert (model.score_threshold, model.nms_iou) == (0.3, 0.6)
        assert model.bundle is not None
        assert model.bundle.lineage["parent"] == "none"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__sha256": "0" * 64}, "expected sha256 0000"),
        ({"model__file": "../model.onnx"}, r"model\.file"),
        ({"model__precision": "int3"}, r"model\.precision"),
        ({"bundle_version": 2}, "bundle_version"),
        ({"task": "pose"}, r"task: .*is a model for the task 'pose' \(poses: keypoints\), expected 'detect' or 'obb'"),
        ({"task": "obb"}, "head: expected one of the task 'obb', found 'yolov8'"),
        ({"task": "obb", "head": "yolov8-obb"}, "for 3 classes and head yolov8-obb"),
        ({"task": 1}, "task"),
        ({"head": "ssd"}, "head"),
        ({"classes": []}, "classes"),
        ({"classes": ["red", "red", "blue"]}, "names must differ"),
        ({"classes": ["red"]}, "for 1 classes"),
        ({"input_shapes_hw": [[64, 100]]}, "multiples of the stride"),
        ({"preprocessing__definition": 2}, r"preprocessing\.definition"),
        ({"thresholds__score": 1.5}, r"thresholds\.score"),
        ({"extra": 1}, "extra"),
        ({"model__input": {"name": "x", "dynamic": True}}, "expected an input 'x'"),
        ({"model__input": {"name": "images", "dynamic": False}}, "exactly one"),
    ],
)
def test_faulty_bundles_are_refused(
    tmp_path: Path, write_model: WriteModel, changes: dict[str, Any], message: str
) -> None:
    """Each fault of a bundle is one error that names the key; class counts are compared where the graph fixes them."""
    folder = _write_bundle(tmp_path / "bundle", write_model().read_bytes(), **changes)

    with pytest.raises(ModelError, match=message):
        open_model(folder)


def test_a_folder_without_bundle_is_named(tmp_path: Path) -> None:
    """An empty folder is no bundle."""
    with pytest.raises(ModelError, match=r"bundle\.json: not found"):
        open_model(tmp_path)
