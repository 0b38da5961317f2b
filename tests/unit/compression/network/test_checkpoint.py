# SPDX-License-Identifier: AGPL-3.0-or-later
"""Opening and saving checkpoints: the family is recognised, sizes are the published ones, foreign files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from ultralytics.nn.tasks import (
    ClassificationModel,
    DepthModel,
    DetectionModel,
    OBBModel,
    PoseModel,
    SegmentationModel,
    SemanticSegmentationModel,
)

from vision_line.devices.model.tasks import ModelTask
from vision_line.errors import ModelError, RunError
from vision_line_compression.network.checkpoint import Complexity, complexity, load_checkpoint, save_checkpoint
from vision_line_compression.network.detection_network import branch_names, head_of, network_of
from vision_line_compression.network.family import scaled_width

pytestmark = pytest.mark.filterwarnings("ignore")  # ultralytics announces its own futures


def saved(model: object, path: Path) -> Path:
    """Write a model as Ultralytics does."""
    torch.save({"model": model, "ema": None, "epoch": -1, "train_args": {"imgsz": 96}}, path)
    return path


def detector(name: str = "yolov8n.yaml", classes: int = 80) -> Any:
    """Return an untrained detector."""
    return DetectionModel(name, nc=classes, verbose=False)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("name", "params", "gflops"),
    [("yolov8n.yaml", 3_151_904, 8.7), ("yolo11n.yaml", 2_616_248, 6.5)],
)
def test_sizes_are_those_of_the_published_models(name: str, params: int, gflops: float) -> None:
    """Fused parameters and twice the MACs at 640 x 640 agree with what Ultralytics prints for its models."""
    found = complexity(detector(name), (640, 640))

    assert found.params == params
    assert 2 * found.macs / 1e9 == pytest.approx(gflops, abs=0.15)


def test_macs_grow_with_the_area() -> None:
    """Twice the height is twice the work; a size between the strides is refused."""
    model = detector()

    assert complexity(model, (128, 64)).macs == 2 * complexity(model, (64, 64)).macs
    with pytest.raises(ValueError, match="multiples of 32"):
        complexity(model, (100, 64))


def test_counting_changes_nothing() -> None:
    """The counted model keeps its normalisation layers and its mode."""
    model = detector().train()
    complexity(model, (64, 64))

    assert model.training
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_saving_keeps_names_arguments_and_numbers(tmp_path: Path) -> None:
    """A saved checkpoint opens with the classes and training arguments of the one it came from, in float32."""
    first = load_checkpoint(saved(detector(classes=2), tmp_path / "first.pt"))
    save_checkpoint(first.model, tmp_path / "out" / "second.pt", first)
    second = load_checkpoint(tmp_path / "out" / "second.pt")
    model: Any = second.model

    assert second.classes == first.classes == ("0", "1")
    assert model.args == {"imgsz": 96}
    assert all(parameter.dtype is torch.float32 for parameter in second.model.parameters())
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    )
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_full_disk_is_one_sentence_with_the_file(tmp_path: Path) -> None:
    """Torch's own names neither."""
    first = load_checkpoint(saved(detector(classes=2), tmp_path / "first.pt"))
    (tmp_path / "second.partial").symlink_to("/dev/full")

    with pytest.raises(RunError, match=r"second\.pt: cannot be written"):
        save_checkpoint(first.model, tmp_path / "second.pt", first)


def test_half_precision_checkpoints_become_float32(tmp_path: Path) -> None:
    """Trainers save half precision; work goes on in float32."""
    checkpoint = load_checkpoint(saved(detector(classes=2).half(), tmp_path / "half.pt"))

    assert all(parameter.dtype is torch.float32 for parameter in checkpoint.model.parameters())
    assert not checkpoint.model.training


def test_missing_and_broken_files_are_refused(tmp_path: Path) -> None:
    """Each unusable file gets one sentence that names it."""
    (tmp_path / "text.pt").write_text("not a checkpoint")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "model.onnx").write_bytes(b"")

    for name in ("absent.pt", "text.pt", "empty.pt", "model.onnx"):
        with pytest.raises(ModelError, match=name):
            load_checkpoint(tmp_path / name)


def test_other_contents_are_refused(tmp_path: Path) -> None:
    """A state dictionary, a fused model and a family without proof are no parents."""
    torch.save(detector().state_dict(), tmp_path / "weights.pt")
    fused = detector()
    for module in list(fused.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    saved(fused, tmp_path / "fused.pt")
    saved(detector("yolov5n.yaml"), tmp_path / "family.pt")

    expected = {"weights": "detection, OBB or segmentation checkpoint", "fused": "fused", "family": "C3"}
    for name, message in expected.items():
        with pytest.raises(ModelError, match=message):
            load_checkpoint(tmp_path / f"{name}.pt")


@pytest.mark.parametrize(
    ("kind", "network", "task"),
    [
        (PoseModel, "yolov8n-pose", "pose"),
        (PoseModel, "yolo26n-pose", "pose"),
        (ClassificationModel, "yolov8n-cls", "classify"),
        (SemanticSegmentationModel, "yolo26n-sem", "semantic"),
        (DepthModel, "yolo26n-depth", "depth"),
    ],
)
def test_another_task_of_a_known_family_is_named(kind: type[Any], network: str, task: str, tmp_path: Path) -> None:
    """It is no unknown family: what it is for is the reason."""
    path = saved(kind(f"{network}.yaml", nc=2, verbose=False), tmp_path / "model.pt")

    with pytest.raises(
        ModelError, match=rf"is a model for the task '{task}' \(.*\), expected 'detect' or 'obb' or 'segment'"
    ):
        load_checkpoint(path)


@pytest.mark.parametrize(("kind", "ending"), [(OBBModel, "obb"), (SegmentationModel, "seg")])
@pytest.mark.parametrize(("network", "family"), [("yolov8n", "v8"), ("yolo11n", "11"), ("yolo26n", "26")])
def test_a_model_of_another_task_keeps_it(
    network: str, family: str, kind: type[Any], ending: str, tmp_path: Path
) -> None:
    """Its head says what it is for; written again it is one still, and so are other networks of its family."""
    path = saved(kind(f"{network}-{ending}.yaml", nc=2, verbose=False), tmp_path / "model.pt")
    task = {"obb": ModelTask.OBB, "seg": ModelTask.SEGMENT}[ending]
    checkpoint = load_checkpoint(path)
    save_checkpoint(checkpoint.model, tmp_path / "again.pt", checkpoint)
    again, narrower = load_checkpoint(tmp_path / "again.pt"), scaled_width(checkpoint, 0.5)

    assert (checkpoint.family, checkpoint.task) == (again.family, again.task) == (family, task)
    assert network_of(again.model).task == task
    assert type(network_of(narrower).model[-1]) is type(network_of(checkpoint.model).model[-1])
    assert branch_names(head_of(narrower)) == branch_names(head_of(checkpoint.model))
    assert "cv4" in branch_names(head_of(narrower))


def test_masks_of_other_coefficients_are_refused(tmp_path: Path) -> None:
    """An inspection has 32 of them."""
    model: Any = SegmentationModel("yolov8n-seg.yaml", nc=2, verbose=False)  # type: ignore[no-untyped-call]
    model.model[-1].nm = 16

    with pytest.raises(ModelError, match="has masks of 16 coefficients, expected 32"):
        load_checkpoint(saved(model, tmp_path / "model.pt"))


def test_a_model_of_one_channel_is_refused_by_that_reason(tmp_path: Path) -> None:
    """Traced with three channels it would fail minutes later, as if memory were short."""
    grey: Any = DetectionModel("yolov8n.yaml", ch=1, nc=2, verbose=False)  # type: ignore[no-untyped-call]

    with pytest.raises(ModelError, match="takes images of 1 channels, expected 3"):
        load_checkpoint(saved(grey, tmp_path / "grey.pt"))


class ForeignLayer(nn.Identity):
    """A class that plain Ultralytics does not know."""


def test_foreign_classes_are_never_saved(tmp_path: Path) -> None:
    """A model with classes of another package would not open elsewhere, so it is not written."""
    checkpoint = load_checkpoint(saved(detector(classes=2), tmp_path / "first.pt"))
    model: Any = checkpoint.model
    model.model[0].act = ForeignLayer()

    with pytest.raises(ModelError, match="ForeignLayer"):
        save_checkpoint(model, tmp_path / "second.pt", checkpoint)
    assert not (tmp_path / "second.pt").exists()


def test_a_code_carrying_file_is_not_run(tmp_path: Path) -> None:
    """A pickle that would call a function on loading is refused without calling it."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"model": Trap()}, tmp_path / "trap.pt")

    with pytest.raises(ModelError):
        load_checkpoint(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_complexity_is_a_value() -> None:
    """Equal counts are equal."""
    assert Complexity(1, 2) == Complexity(1, 2)
