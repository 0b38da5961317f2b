# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is legal in recipe, data set and machine together and hardly meant, said before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from vision_line.devices.proof.processor import Processor
from vision_line_compression.data.dataset import Dataset, LabelledImage
from vision_line_compression.network.checkpoint import Checkpoint
from vision_line_compression.pipeline.inputs import Inputs
from vision_line_compression.pipeline.recipe import load_recipe

RECIPE = """recipe_version = 1
name = "mine"
[parent]
checkpoint = "parent.pt"
[data]
yaml = "data.yaml"
[prune]
budget = { macs = 0.4 }
[recover]
epochs = 1
"""


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """A recipe on an image with a box in each split."""
    (tmp_path / "recipe.toml").write_text(RECIPE)
    data = []
    for split in ("train", "val", "test"):
        path = tmp_path / f"images/{split}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(split.encode())
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/{split}.txt").touch()
        image = LabelledImage(path, (640, 640), np.array([[0, 0, 64, 64]], np.float32), np.zeros(1, np.int32))
        data.append(Dataset(tmp_path / "data.yaml", split, ("dent",), (image,)))
    parent = Checkpoint(nn.Identity(), "v8", ("dent",), "a" * 64, tmp_path / "parent.pt")
    train, val, test = data
    return Inputs(load_recipe(tmp_path / "recipe.toml"), parent, parent, train, val, test)


def with_keys(inputs: Inputs, section: str, **keys: Any) -> Inputs:
    """Return inputs of the recipe with other keys in a section."""
    recipe = inputs.loaded.recipe
    changed = getattr(recipe, section).model_copy(update=keys)
    return replace(inputs, loaded=replace(inputs.loaded, recipe=recipe.model_copy(update={section: changed})))


def test_an_ordinary_recipe_gives_no_warning(inputs: Inputs) -> None:
    """And its data set is described."""
    assert inputs.warnings == ()
    assert [line.partition(":")[0] for line in inputs.description] == ["train", "val", "test"]


def test_scales_that_nothing_drove_to_zero_are_no_importance(inputs: Inputs) -> None:
    """The criterion is made for a network after its sparsity training."""
    (warning,) = with_keys(inputs, "prune", importance="bn").warnings

    assert 'prune.importance: "bn" rates channels by scales that [sparsify] drives to zero' in warning


@pytest.mark.parametrize(
    ("flags", "device", "warned"),
    [({"avx2"}, "cpu", True), ({"avx2", "amx_bf16"}, "cpu", False), (set(), "cpu", False), ({"avx2"}, "0", False)],
)
def test_bfloat16_without_its_instructions_is_slow(
    inputs: Inputs, flags: set[str], device: str, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is emulated then; of a processor that says nothing nothing is known, and a GPU has its own."""
    processor = Processor("a processor", "x86_64", frozenset(flags))
    monkeypatch.setattr("vision_line_compression.pipeline.inputs.this_processor", lambda: processor)

    found = with_keys(inputs, "train", precision="bf16", device=device).warnings

    assert any('train.precision: "bf16" is many times slower' in warning for warning in found) == warned


def test_another_seed_changes_nothing_but_the_seed(inputs: Inputs) -> None:
    """No file is read again for it, and it has no further seeds of its own."""
    several = with_keys(inputs, "report", seeds=(5,))
    hashes = several.hashes

    again = several.with_seed(5)

    assert again.hashes is hashes
    assert (again.loaded.recipe.seed, again.loaded.recipe.report.seeds) == (5, ())
    assert again.train is several.train
