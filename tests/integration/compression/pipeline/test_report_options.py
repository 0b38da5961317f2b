# SPDX-License-Identifier: AGPL-3.0-or-later
"""A run whose report is asked for more: a chosen calibration, further seeds, groups of images, corrupted ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from vision_line_compression.data.dataset import open_dataset
from vision_line_compression.evaluate import evaluation
from vision_line_compression.quantize.method_choice import MethodChoice
from vision_line_compression.quantize.thresholds import Method
from vision_line_compression.report.card import ReportCard, RowKind

from .conftest import MOSTLY_FLOAT, RECIPE, Bench

OPTIONS = """
[recover]
epochs = 1
settle_share = 0.0

[quantize]
method = "auto"
calibration_images = 2
protect_images = 2
MOSTLY_FLOAT

[evaluate]
speed_s = 0.1

[gates]
map50_95_drop = 100.0
map50_drop = 100.0
class_recall_drop = 100.0
corrupted_miss_rise = 100.0

[report]
corrupted_images = 2
seeds = [1]
"""


def _not_asked_for(*_args: object, **_options: object) -> None:
    raise AssertionError("a calibration that is only tried is timed")


@pytest.mark.timeout(900)
def test_what_a_report_says_of_trainings_groups_and_calibration(
    responsive: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its JSON: each training's figures, what intervals are over, what was chosen on which images."""
    monkeypatch.setattr(evaluation, "measure_speed", _not_asked_for)
    bench = responsive
    head = RECIPE.partition("[prune]")[0].format()
    head = head.replace('yaml = "missing.yaml"', "yaml = \"missing.yaml\"\ngroup = '(\\d)\\.'")
    head = head.replace("mosaic = 0.0", "mosaic = 0.0\ncorrupted = 0.5")
    bench.recipe.write_text(head + OPTIONS.replace("MOSTLY_FLOAT", MOSTLY_FLOAT))

    done = bench("run")

    assert done.exit_code in (0, 1), done.output
    card = ReportCard.read(bench.work / "report.json")
    choices = [MethodChoice.read(path) for path in bench.work.glob("quantize-*/choice.json")]
    assert [{trial.method for trial in choice.trials} for choice in choices] == 2 * [set(Method)]  # of each training
    assert not list(bench.work.glob("quantize-*/trial.onnx"))
    (said,) = (remark for remark in card.remarks if "was chosen by mAP50-95 on 2 images of val" in remark)
    assert said in {choice.words for choice in choices}
    assert card.product is RowKind.INT8_AUTO
    product, recovered, parent = (card.row(kind) for kind in (card.product, RowKind.RECOVERED, RowKind.PARENT))
    assert [one.seed for one in product.again] == [one.seed for one in recovered.again] == [1]
    assert parent.again == ()
    assert len(list(bench.work.glob("recover-*"))) == 2
    assert card.grouped is not None
    assert card.grouped.groups == 2
    for found in (product.difference, product.from_float):
        assert found is not None
        assert (found.groups, found.trainings) == (2, 2)
    assert product.evaluation is not None
    assert {point.groups for point in product.evaluation.operating} == {2}
    assert {"corrupted_miss_rise"} <= {gate.name for gate in card.gates if gate.passed}
    assert "few: drawn from so few" in " ".join(card.remarks)
    first, second = (path.read_bytes() for path in sorted(bench.work.glob("recover-*/trained.pt")))
    assert first != second


def test_an_image_that_cannot_be_decoded_is_refused_before_training(bench: Bench, boards: Path, tmp_path: Path) -> None:
    """Its header is whole, so that all else is checked first; every one is named."""
    own = shutil.copytree(boards.parent, tmp_path / "own")
    (own / boards.name).write_text(boards.read_text().replace(str(boards.parent), str(own)))
    image = open_dataset(own / boards.name, "test").images[0]
    damaged = image.path.with_suffix(".bmp")
    Image.effect_noise((64, 64), 90).convert("RGB").save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:2000])
    bench.options[1] = f"--data={own / boards.name}"

    refused = bench("run")

    assert refused.exit_code == 2, refused.output
    assert f"{damaged}: it cannot be decoded" in " ".join(refused.output.split())
    assert [path.name.partition("-")[0] for path in bench.work.iterdir() if path.is_dir()] == ["data"]


def test_groups_that_are_none_are_refused_at_once(bench: Bench) -> None:
    """By the pattern and a file in which it finds nothing."""
    bench.recipe.write_text(
        bench.recipe.read_text().replace('yaml = "missing.yaml"', 'yaml = "x"\ngroup = "^(board-x)"')
    )

    refused = bench("run")

    assert refused.exit_code == 2
    assert "data.group: '^(board-x)' finds nothing in" in refused.output
    assert not bench.work.exists()
