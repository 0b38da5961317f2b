# SPDX-License-Identifier: AGPL-3.0-or-later
"""A recipe that trains nothing: the parent becomes an INT8 bundle as it is, measured and judged as any other."""

from __future__ import annotations

from vision_line.devices.model.model import open_model
from vision_line_compression.pipeline.recipe import load_recipe
from vision_line_compression.pipeline.steps.report import _chosen_on_val
from vision_line_compression.report.card import ReportCard, RowKind

from .conftest import MOSTLY_FLOAT, RECIPE, Bench

QUANTIZED = f"""
[quantize]
calibration_images = 2
{MOSTLY_FLOAT}

[gates]
map50_95_drop = 100.0
map50_drop = 100.0
class_recall_drop = 100.0
"""


def test_the_parent_becomes_a_bundle_and_nothing_is_trained(responsive: Bench) -> None:
    """Its INT8 is the product, held against itself in float; what was given is what the bundle was made of."""
    bench = responsive
    bench.recipe.write_text(RECIPE.partition("[prune]")[0].format() + QUANTIZED)

    done = bench("run")

    assert done.exit_code == 0, done.output
    card = ReportCard.read(bench.work / "report.json")
    assert {row.kind for row in card.rows if row.evaluation is not None} == {
        RowKind.PARENT,
        RowKind.INT8_MAX,
        RowKind.INT8_UNSIGNED,
    }
    product = card.row(card.product)
    assert (card.product, product.epochs) == (RowKind.INT8_MAX, 0)
    assert product.from_float == product.difference is not None
    assert not list(bench.work.glob("*/training"))
    assert (bench.work / "trained.pt").read_bytes() == bench.checkpoint.read_bytes()
    model = open_model(bench.work / "bundle")
    assert model.precision == "int8"
    assert model.bundle is not None
    assert model.bundle.failed_gates == ()

    bench.options[0] = f"--checkpoint={bench.work / 'trained.pt'}"  # as after a run, with other thresholds
    bench.recipe.write_text(bench.recipe.read_text() + "[operating]\nscore = 0.3\n")
    again = bench("run")
    assert again.exit_code == 0, again.output
    assert (bench.work / "trained.pt").read_bytes() == bench.checkpoint.read_bytes()


def test_nothing_is_checked_for_a_training_that_there_is_not(bench: Bench) -> None:
    """Here is no such device; only a training would need it."""
    head = RECIPE.partition("[prune]")[0].format().replace("[train]\n", '[train]\ndevice = "0"\n')
    bench.recipe.write_text(head + QUANTIZED)

    distill = bench("distill")

    assert distill.exit_code == 2
    assert "distill: is missing, as is [recover], so there is nothing to train" in " ".join(distill.output.split())


def test_a_report_says_what_its_images_chose(bench: Bench) -> None:
    """On `val` a choice of the calibration and of float parts is flattered, where no epoch was chosen."""
    head = RECIPE.partition("[prune]")[0].format()
    bench.recipe.write_text(head + '[quantize]\nmethod = "auto"\n[quantize.protect]\nmost_probed = 1\n')

    found = list(_chosen_on_val(load_recipe(bench.recipe).recipe))

    assert found == ["the calibration of INT8", "the parts that stay float in it"]


def test_there_is_nothing_to_prune_or_train(bench: Bench) -> None:
    """The commands of those steps say what is missing."""
    bench.recipe.write_text(RECIPE.partition("[prune]")[0].format() + QUANTIZED)

    plan, prune = bench("plan"), bench("prune")

    assert (plan.exit_code, prune.exit_code) == (2, 2)
    assert "prune: is missing, so there is nothing to plan" in " ".join(plan.output.split())
    assert "recover: is missing, so there is nothing to prune or train" in " ".join(prune.output.split())
