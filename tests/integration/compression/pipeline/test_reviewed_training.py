# SPDX-License-Identifier: AGPL-3.0-or-later
"""From reviews to another model: exported images are added to the model's own, and it is trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.fakes.reviewed_records import ReviewedRecords, answer, export, reviewed_records

from vision_line.simulator.defects import KINDS
from vision_line_compression.data.dataset import Dataset, LabelledImage, open_dataset
from vision_line_compression.network.checkpoint import load_checkpoint
from vision_line_compression.training.fine_tuning import link_training_data

from .conftest import RECIPE, Bench

UNPRUNED = RECIPE.partition("[prune]")[0] + "[recover]\nepochs = 1\nsettle_share = 0.0\n"


def review(records: ReviewedRecords, n: int, image: LabelledImage) -> None:
    """Record an event for each true box of an image, and confirm it."""
    for number, (edges, class_id) in enumerate(zip(image.xyxy.tolist(), image.class_id.tolist(), strict=True)):
        name = KINDS[class_id]
        item = records.event(
            100 * n + number,
            600.0 * n,
            box=tuple(edges),
            image=image.path.read_bytes(),
            frame=100 * n,
            **{"class": name},
        )
        answer(records.records.directory, item, call_class=name)


@pytest.fixture
def reviewed(tmp_path: Path, boards: Path) -> Path:
    """Export what was reviewed of boards that the model has not seen; returns data.yaml."""
    seen = open_dataset(boards, "test").images + open_dataset(boards, "val").images
    records, out = tmp_path / "records", tmp_path / "reviewed"
    with reviewed_records(records, classes=json.dumps(KINDS)) as made:
        made.size_wh = seen[0].size_wh
        for n, image in enumerate(seen, 1):
            review(made, n, image)
        done = export(made, out, "--keep-unreviewed")
    assert done.exit_code == 0, done.output
    return out / "data.yaml"


def test_reviewed_images_train_a_model_on(bench: Bench, reviewed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside its own images, at all of its widths; what the training was given goes with its end."""
    linked: set[Path] = set()

    def recorded(folder: Path, splits: dict[str, Dataset]) -> Path:
        assert folder.parent.name.startswith("recover-")  # two trainings at the same time share nothing
        data_yaml = link_training_data(folder, splits)
        linked.update(path.readlink() for path in (folder / "images/train").iterdir())
        return data_yaml

    monkeypatch.setattr("vision_line_compression.pipeline.steps.train.link_training_data", recorded)
    bench.recipe.write_text(UNPRUNED.format())
    bench.options.append(f"--more-data={reviewed}")

    done = bench("prune")

    assert done.exit_code == 0, done.output
    own, added = (open_dataset(path, "train") for path in (bench.data_yaml, reviewed))
    assert not list(bench.work.glob("recover-*/data"))
    assert linked == {image.path for image in (*own.images, *added.images)}
    before, after = (load_checkpoint(path).model for path in (bench.checkpoint, bench.result("recover-*/trained.pt")))
    assert [p.shape for p in before.parameters()] == [p.shape for p in after.parameters()]
    assert not all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))


def test_classes_of_another_model_are_refused_before_anything_is_trained(bench: Bench, reviewed: Path) -> None:
    """By the name of the data set that has them."""
    text = reviewed.read_text()
    reviewed.write_text(text.replace(KINDS[0], "scratch"))
    bench.options.append(f"--more-data={reviewed}")

    done = bench("run")

    assert done.exit_code == 2
    assert f"{reviewed}: names: expected {', '.join(KINDS)}" in done.output


def test_a_recipe_without_pruning_has_no_plan(bench: Bench) -> None:
    """And says so."""
    bench.recipe.write_text(UNPRUNED.format())

    done = bench("plan")

    assert done.exit_code == 2
    assert "prune: is missing, so there is nothing to plan" in done.output
