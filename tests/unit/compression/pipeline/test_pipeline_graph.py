# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a key of the recipe reaches: the graph of stages is pure, so no training is needed to see it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from vision_line_compression.data.dataset import Dataset, LabelledImage
from vision_line_compression.network.checkpoint import Checkpoint
from vision_line_compression.pipeline.graph import CompressionPipeline
from vision_line_compression.pipeline.inputs import Inputs
from vision_line_compression.pipeline.recipe import Control, Recipe, load_recipe
from vision_line_compression.pipeline.stage import Stage, Workspace
from vision_line_compression.report.card import RowKind

RECIPE = Path(__file__).parents[4] / "compression" / "recipes" / "demo.toml"


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """The demo's recipe with all controls, on one image."""
    path = tmp_path / "a.png"
    path.write_bytes(b"never decoded")
    image = LabelledImage(path, (64, 64), np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
    data = [Dataset(tmp_path / "data.yaml", split, ("dent",), (image,)) for split in ("train", "val", "test")]
    parent = Checkpoint(nn.Identity(), "v8", ("dent",), "a" * 64, tmp_path / "parent.pt")
    loaded = load_recipe(RECIPE, parent.path, tmp_path / "data.yaml")
    report = loaded.recipe.report.model_copy(update={"controls": tuple(Control)})
    loaded = replace(loaded, recipe=loaded.recipe.model_copy(update={"report": report}))
    return Inputs(loaded, parent, parent, *data)


def keys(inputs: Inputs, **sections: dict[str, Any]) -> dict[str, str]:
    """Return the key of every stage by its name, with some keys of the recipe changed."""
    recipe = inputs.loaded.recipe
    changed = recipe.model_dump()
    for section, values in sections.items():
        changed[section] = changed[section] | values
    loaded = replace(inputs.loaded, recipe=Recipe.model_validate(changed))
    pipeline = CompressionPipeline(replace(inputs, loaded=loaded), Workspace(Path("work")))
    found: dict[str, str] = {}
    _collect(pipeline.bundle, found)
    _collect(pipeline.report, found)
    return found


def _collect(stage: Stage, found: dict[str, str]) -> None:
    if stage.name not in found:
        found[stage.name] = stage.key
        for before in stage.after:
            _collect(before, found)


def changed(inputs: Inputs, **sections: dict[str, Any]) -> set[str]:
    """Return the stages that a change makes anew."""
    before, after = keys(inputs), keys(inputs, **sections)
    return {name for name in after if after[name] != before.get(name)}


def test_the_order_is_prune_distill_quantize(inputs: Inputs) -> None:
    """Each hangs from the one before."""
    pipeline = CompressionPipeline(inputs, Workspace(Path("work")))
    chain: dict[str, str] = {}
    _collect(pipeline.quantized, chain)

    assert list(chain)[:6] == ["quantize", "export-distilled", "distill", "recover", "prune", "recover-step1"]


def test_every_row_of_the_report_is_there(inputs: Inputs) -> None:
    """Steps, calibration methods and controls; the optional training of the INT8 weights where it is asked for."""
    pipeline = CompressionPipeline(inputs, Workspace(Path("work")))

    assert set(pipeline.evaluations) == set(RowKind) - {RowKind.QUANTIZATION_AWARE}


def test_quantization_aware_training_comes_last(inputs: Inputs) -> None:
    """It starts from the distilled model, and its result is what is quantized and shown; no other key changes."""
    recipe = Recipe.model_validate(inputs.loaded.recipe.model_dump() | {"qat": {"epochs": 2}})
    with_it = replace(inputs, loaded=replace(inputs.loaded, recipe=recipe))
    pipeline, plain = (CompressionPipeline(given, Workspace(Path("work"))) for given in (with_it, inputs))
    chain: dict[str, str] = {}
    _collect(pipeline.quantized, chain)

    assert list(chain)[:4] == ["quantize", "export-quantization-aware", "qat", "distill"]
    assert set(pipeline.evaluations) == set(RowKind)
    assert pipeline.finished.epochs == pipeline.distilled.epochs + 2
    assert pipeline.distilled.checkpoint.path == plain.distilled.checkpoint.path


def test_an_unchanged_recipe_has_the_same_keys(inputs: Inputs) -> None:
    """Whatever else the process did."""
    assert changed(inputs) == set()


def test_how_fast_a_training_is_done_changes_nothing(inputs: Inputs) -> None:
    """Threads, workers and caching are not in the keys; the bundle's lineage names the recipe as it was."""
    assert changed(inputs, train={"threads": 7, "workers": 3, "cache": False}) == {"bundle"}


def test_gates_change_the_report_alone(inputs: Inputs) -> None:
    """And the recipe in the bundle."""
    assert changed(inputs, gates={"miss_rate": 0.01}) == {"bundle", "report"}


def test_calibration_changes_what_comes_after_it(inputs: Inputs) -> None:
    """No training is repeated."""
    reached = changed(inputs, quantize={"calibration_images": 100})

    assert "quantize" in reached
    assert not {name for name in reached if name.startswith(("plan", "prune", "recover", "distill", "longer"))}


def test_calibration_images_count_by_their_content(inputs: Inputs) -> None:
    """Not by their folder's name; and they are no matter to what was trained."""
    one, other = (replace(inputs, calibration=replace(inputs.train, classes=(content,))) for content in "ab")
    named = keys(one, quantize={"calibration": "day"})

    assert named == keys(one, quantize={"calibration": "night"})
    reached = {name for name, key in keys(other, quantize={"calibration": "day"}).items() if key != named[name]}
    assert {"quantize", "eval-int8-mse", "bundle", "report"} <= reached
    assert not {name for name in reached if name.startswith(("plan", "prune", "recover", "distill", "export"))}


def test_a_budget_changes_all_but_what_is_before_it(inputs: Inputs) -> None:
    """The first step of progressive pruning has a budget of its own; the parent is the parent."""
    reached = changed(inputs, prune={"budget": {"macs": 0.3}})

    assert {"plan", "prune", "recover", "distill", "quantize", "narrow", "one-shot-plan"} <= reached
    assert not reached & {"plan-step1", "prune-step1", "recover-step1", "longer", "export-parent", "eval-parent"}


def test_without_pruning_the_parent_is_trained_on_and_quantized(inputs: Inputs) -> None:
    """As far as the bundle and the report, which have no plan and no pruned rows."""
    changes = {"prune": None, "step": (), "distill": None}
    report = inputs.loaded.recipe.report.model_copy(update={"controls": (Control.LONGER,)})
    recipe = inputs.loaded.recipe.model_copy(update={**changes, "report": report})
    pipeline = CompressionPipeline(
        replace(inputs, loaded=replace(inputs.loaded, recipe=recipe)), Workspace(Path("work"))
    )
    made: dict[str, str] = {}
    _collect(pipeline.bundle, made)
    _collect(pipeline.report, made)

    assert not {name for name in made if name.startswith(("plan", "prune", "latency"))}
    assert {"recover", "export-recovered", "quantize", "bundle", "report"} <= made.keys()
    assert list(pipeline.checkpoints) == [RowKind.PARENT, RowKind.RECOVERED, RowKind.LONGER]


def test_controls_train_as_long_as_a_product_with_sparsity_training(inputs: Inputs) -> None:
    """Else every drop would be against a parent that had less; the sparsity itself is the product's alone."""
    recipe = Recipe.model_validate(
        inputs.loaded.recipe.model_dump() | {"sparsify": {"epochs": 7}, "qat": {"epochs": 2}}
    )
    with_it = replace(inputs, loaded=replace(inputs.loaded, recipe=recipe))
    pipeline, plain = (CompressionPipeline(given, Workspace(Path("work"))) for given in (with_it, inputs))

    rows, before = pipeline.checkpoints, plain.checkpoints
    assert rows[RowKind.PRUNED].epochs == before[RowKind.PRUNED].epochs + 7
    assert rows[RowKind.LONGER].epochs == rows[RowKind.QUANTIZATION_AWARE].epochs == pipeline.finished.epochs
    assert rows[RowKind.NARROW].epochs == before[RowKind.NARROW].epochs + 9
    for kind in (RowKind.RECOVERED, RowKind.DISTILLED, RowKind.NO_TEACHER, RowKind.UNIFORM, RowKind.ONE_SHOT):
        assert rows[kind].epochs == before[kind].epochs + 7
    longer = rows[RowKind.LONGER].checkpoint.stage
    assert longer is not None
    schedule: Any = longer.settings["schedule"]
    assert (schedule["phases"][0]["epochs"], schedule["phases"][0]["sparsity"]) == (7, 0.0)
