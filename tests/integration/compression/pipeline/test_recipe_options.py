# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a recipe may ask for beside the plain run: gradients, sparsity, latency, protected parts, other images."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.data.tensors import input_batches
from vision_line_compression.engines import latency_measure
from vision_line_compression.evaluate.predict import predict
from vision_line_compression.network.checkpoint import load_checkpoint, save_checkpoint
from vision_line_compression.pipeline.context import Artifact, Context
from vision_line_compression.pipeline.inputs import Inputs, open_inputs
from vision_line_compression.pipeline.recipe import load_recipe
from vision_line_compression.pipeline.stage import Stage, Workspace
from vision_line_compression.pipeline.steps.evaluate import open_measured
from vision_line_compression.pipeline.steps.export import export
from vision_line_compression.pipeline.steps.quantize import MIXED_PRECISION, QUANTIZATION, quantize
from vision_line_compression.prune.apply import recalibrate_batch_norm
from vision_line_compression.prune.latency import measure_latency
from vision_line_compression.prune.openvino_bench import OpenvinoBench
from vision_line_compression.prune.plan import PruningPlan
from vision_line_compression.quantize.mixed_precision import MixedPrecision

from .conftest import Bench, WriteCheckpoint

LATENCY = "budget = { latency = %s }\nsize_hw = [32, 32]\n"


def done(tmp_path: Path, stage: Stage) -> Path:
    """Return the folder of `stage`, carried out."""
    return Workspace(tmp_path / "work").ensure(stage, lambda _title: nullcontext(lambda _done, _total: None))


def exported(inputs: Inputs, tmp_path: Path) -> Artifact:
    """Return the parent's float ONNX file."""
    onnx = export(Context(inputs, Workspace(tmp_path / "work")), "parent", Artifact(inputs.loaded.checkpoint))
    assert onnx.stage is not None
    done(tmp_path, onnx.stage)
    return onnx


def quantized(inputs: Inputs, tmp_path: Path) -> Path:
    """Return what the quantization of the parent leaves."""
    return done(tmp_path, quantize(Context(inputs, Workspace(tmp_path / "work")), exported(inputs, tmp_path)))


def planned(bench: Bench) -> Any:
    """Return the plan that `plan` makes."""
    done = bench("plan")
    assert done.exit_code == 0, done.output
    return PruningPlan.read(bench.result("plan-*/plan.json"))


def changed(bench: Bench, **sections: str) -> None:
    """Add lines to sections of the recipe."""
    text = bench.recipe.read_text()
    for section, lines in sections.items():
        text = text.replace(f"[{section}]\n", f"[{section}]\n{lines}\n")
    bench.recipe.write_text(text)


def test_channels_are_rated_by_gradients_of_the_training_loss(bench: Bench) -> None:
    """`taylor` plans within the budget, and otherwise than the norms of the weights."""
    by_norm = planned(bench)
    bench.result("plan-*").rename(bench.work / "by-norm")
    changed(bench, prune='importance = "taylor"')

    by_gradient = planned(bench)

    assert by_gradient.costs["macs"].planned <= 0.6 * by_gradient.costs["macs"].reference
    assert [group.kept for group in by_gradient.groups] != [group.kept for group in by_norm.groups]


def test_sparsity_is_trained_before_the_plan(bench: Bench) -> None:
    """The plan is made of the sparse parent, whose scales are smaller, by these scales."""
    bench.write("[sparsify]\nepochs = 1\nstrength = 0.1\n")
    changed(bench, prune='importance = "bn"')

    plan = planned(bench)

    sparse, parent = (load_checkpoint(path).model for path in (bench.result("sparsify-*/trained.pt"), bench.checkpoint))
    assert plan.settings.importance == "bn"
    assert scales(sparse) < scales(parent)
    assert sorted(path.parent.name.split("-")[0] for path in bench.work.glob("*/done.json")) == [
        "data",
        "plan",
        "sparsify",
    ]


def scales(model: torch.nn.Module) -> float:
    """Return the sum of all batch norm scales."""
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    return sum(float(layer.weight.detach().abs().sum()) for layer in layers)


def test_a_latency_budget_is_measured_kept_and_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is measured once; what cannot be reached is refused with the frontier before anything else is done."""
    monkeypatch.setattr(latency_measure, "measure_latency", partial(measure_latency, points=2))
    monkeypatch.setattr(latency_measure, "OpenvinoBench", lambda seconds=0.0: OpenvinoBench(seconds / 10, threads=1))
    text = bench.recipe.read_text()
    plain = text.replace("budget = { macs = 0.6 }\nsize_hw = [96, 96]\n", LATENCY)
    assert plain != text
    bench.recipe.write_text(plain % "0.02")

    refused = bench("plan")

    assert refused.exit_code == 2
    assert "prune.budget: found latency 2.0%, which cannot be reached" in refused.output
    assert refused.output.count("  params ") > 3
    assert [path.parent.name.split("-")[0] for path in bench.work.glob("*/done.json")] == ["latency"]

    bench.recipe.write_text(plain % "0.95")
    plan = planned(bench)

    assert len(list(bench.work.glob("latency-*"))) == 1
    assert plan.costs["latency"].planned <= 0.95 * plan.costs["latency"].reference


def test_a_control_by_a_missing_library_is_refused_before_training(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to install."""
    monkeypatch.setitem(sys.modules, "nncf", None)
    bench.write('[report]\ncontrols = ["parent-int8-nncf"]\n')

    refused = bench("plan")

    assert refused.exit_code == 2
    assert "'parent-int8-nncf' needs NNCF, which is not installed" in " ".join(refused.output.split())
    assert not bench.work.exists()


def test_budgets_of_steps_and_controls_are_refused_before_training(bench: Bench) -> None:
    """Each one is named, with its own frontier."""
    bench.write('[[step]]\nbudget = { params = 0.01 }\nepochs = 1\n[report]\ncontrols = ["uniform"]\n')

    refused = bench("run")

    assert refused.exit_code == 2
    assert f"{bench.recipe}: step[1].budget: found params 1.0%" in refused.output
    assert f"{bench.recipe}: report.controls: uniform: step[1].budget: found params 1.0%" in refused.output
    assert "prune.budget" not in refused.output
    assert not bench.work.exists()


def test_a_device_that_is_not_there_is_refused_at_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after minutes of planning, by a traceback; and exit 1 would mean that a gate failed."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    changed(bench, train='device = "0"')

    refused = bench("run")

    assert refused.exit_code == 2
    assert f"{bench.recipe}: train.device: found '0', but torch finds 0 CUDA devices here" in refused.output
    assert not bench.work.exists()


def test_layers_that_are_to_stay_float_and_are_not_there_are_refused_at_once(bench: Bench) -> None:
    """Not after all trainings."""
    changed(bench, quantize='keep_float = ["/model.0", "/model.99"]')

    refused = bench("run")

    assert refused.exit_code == 2
    assert f"{bench.recipe}: quantize.keep_float" in refused.output
    assert "/model.99" in refused.output
    assert "/model.0'" not in refused.output
    assert not bench.work.exists()


def test_splits_that_share_images_are_warned_of(bench: Bench, boards: Path, tmp_path: Path) -> None:
    """Before anything is trained, on standard error."""
    shared = tmp_path / "shared.yaml"
    shared.write_text(boards.read_text().replace("val: images/val", "val: images/train"))
    bench.options[1] = f"--data={shared}"
    bench.write(macs=0.01)

    refused = bench("run")

    assert "WARNING: " in refused.output
    assert "train and val share 16 images" in refused.output


@pytest.fixture
def brittle(bench: Bench, tmp_path: Path, write_board_checkpoint: WriteCheckpoint) -> Inputs:
    """A network of whose two quantized blocks one must not be, and as truth what it sees itself in float."""
    original = load_checkpoint(write_board_checkpoint("yolov8n"))
    net: Any = original.model
    with torch.no_grad():
        # In float nothing: a channel that is always zero. In INT8 its weights take all the codes of the next block.
        net.model[2].cv2.bn.weight[0] = net.model[2].cv2.bn.bias[0] = 0.0
        net.model[3].conv.weight[:, 0] *= 1000
    # As drawn its outputs hardly depend on the image.
    recalibrate_batch_norm(net, input_batches(open_dataset(bench.data_yaml, "train"), (96, 96)))
    save_checkpoint(net, tmp_path / "brittle.pt", original)
    bench.write("[quantize.protect]\nmost_probed = 2\nmost_protected = 1\n")
    others = [f"/model.{number}" for number in (1, 2, 4, 6, 7, 8, 9, 12, 15, 16, 18, 19, 21, 22)]
    changed(bench, quantize=f"keep_float = {others}\nprotect_images = 2")
    inputs = open_inputs(load_recipe(bench.recipe, tmp_path / "brittle.pt", bench.data_yaml))
    val = inputs.val.subset(2)
    seen = predict(open_measured(exported(inputs, tmp_path).path, inputs.loaded.recipe), val).detections
    images = tuple(
        replace(image, xyxy=found.xyxy[:20], class_id=found.class_id[:20])
        for image, found in zip(val.images, seen, strict=True)
    )
    return replace(inputs, val=replace(val, images=images))


def test_the_brittle_part_is_found_and_kept_float(brittle: Inputs, tmp_path: Path) -> None:
    """It is tried first, since with it in float the outputs come closest, and it buys what was lost."""
    folder = quantized(brittle, tmp_path)

    found = MixedPrecision.read(folder / MIXED_PRECISION)
    assert found.keep_float == ("/model.3",), found
    assert found.score > found.unprotected_score + 0.01
    assert len(found.probes) == 2
    assert not (folder / "trial.onnx").exists()
    report = json.loads((folder / QUANTIZATION).read_text())["max"]
    assert report["kept_float"]["/model.3/conv/Conv"] == "named in keep_float"


def test_a_folder_of_images_calibrates(bench: Bench, boards: Path, tmp_path: Path) -> None:
    """Instead of the training images; a folder without any is refused with everything else."""
    changed(bench, quantize='calibration = "captured"')
    refused = bench("plan")
    assert refused.exit_code == 2
    assert f"quantize.calibration: {tmp_path / 'captured'}: expected a folder with images, found none" in refused.output

    night = tmp_path / "captured" / "night"
    night.mkdir(parents=True)
    (night.parent / "manifest.jsonl").touch()
    images = sorted((boards.parent / "images" / "test").iterdir())
    for image in images:
        (night / image.name).write_bytes(image.read_bytes())
    inputs = open_inputs(load_recipe(bench.recipe, bench.checkpoint, bench.data_yaml))
    report = json.loads((quantized(inputs, tmp_path) / QUANTIZATION).read_text())["max"]
    assert report["images"] == min(2, len(images))
    assert set(inputs.hashes) == {"train", "val", "judge", "calibration"}
