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
from vision_line_compression.pipeline.context import TrainedModel
from vision_line_compression.pipeline.graph import CompressionPipeline
from vision_line_compression.pipeline.inputs import Inputs, LatencyTableFile
from vision_line_compression.pipeline.recipe import AUTO, Control, Recipe, ReportSection, load_recipe
from vision_line_compression.pipeline.stage import Stage, Workspace
from vision_line_compression.prune.settings import Budget
from vision_line_compression.quantize.thresholds import Method
from vision_line_compression.report.card import RowGroup, RowKind

#: Rows that the recipe does not ask for.
OPTIONAL = {RowKind.QUANTIZATION_AWARE, RowKind.CHOSEN, RowKind.TEACHER, RowKind.NECK_FREE}

RECIPE = Path(__file__).parents[4] / "compression" / "recipes" / "deeppcb.toml"


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """The recipe for circuit boards with all controls, on one image."""
    path = tmp_path / "a.png"
    path.write_bytes(b"never decoded")
    image = LabelledImage(path, (64, 64), np.zeros((0, 4), np.float32), np.zeros(0, np.int32))
    train, val, test = (
        Dataset(tmp_path / "data.yaml", split, ("dent",), (image,)) for split in ("train", "val", "test")
    )
    parent = Checkpoint(nn.Identity(), "v8", ("dent",), "a" * 64, tmp_path / "parent.pt")
    loaded = load_recipe(RECIPE, parent.path, tmp_path / "data.yaml")
    controls = tuple(control for control in Control if control is not Control.NECK_FREE)  # its neck is free
    report = loaded.recipe.report.model_copy(update={"controls": controls, "pretrained": "n.pt"})
    loaded = replace(loaded, recipe=loaded.recipe.model_copy(update={"report": report}))
    return Inputs(loaded, parent, parent, train, val, test, pretrained=replace(parent, sha256="b" * 64))


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

    assert set(pipeline.evaluations) == set(RowKind) - OPTIONAL


def test_quantization_aware_training_comes_last(inputs: Inputs) -> None:
    """It starts from the distilled model, and its result is what is quantized and shown; no other key changes."""
    recipe = Recipe.model_validate(inputs.loaded.recipe.model_dump() | {"qat": {"epochs": 2}})
    with_it = replace(inputs, loaded=replace(inputs.loaded, recipe=recipe))
    pipeline, plain = (CompressionPipeline(given, Workspace(Path("work"))) for given in (with_it, inputs))
    chain: dict[str, str] = {}
    _collect(pipeline.quantized, chain)

    assert list(chain)[:4] == ["quantize", "export-quantization-aware", "qat", "distill"]
    assert set(pipeline.evaluations) == set(RowKind) - OPTIONAL | {RowKind.QUANTIZATION_AWARE}
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


@pytest.mark.parametrize(("method", "product"), [(AUTO, RowKind.INT8_AUTO), (Method.MSE, RowKind.INT8_MSE)])
def test_a_method_that_is_chosen_has_a_row_of_its_own(inputs: Inputs, method: Any, product: RowKind) -> None:
    """The graph is known before it is; those that it is compared with stay."""
    section = inputs.loaded.recipe.quantize.model_copy(update={"method": method, "compare": (Method.MAX,)})
    loaded = replace(inputs.loaded, recipe=inputs.loaded.recipe.model_copy(update={"quantize": section}))
    pipeline = CompressionPipeline(replace(inputs, loaded=loaded), Workspace(Path("work")))

    rows = {row for row in pipeline.evaluations if row.group is RowGroup.INT8}

    assert pipeline.product is product
    assert rows == {product, RowKind.INT8_MAX, RowKind.INT8_UNSIGNED}


def test_groups_change_the_intervals_alone(inputs: Inputs) -> None:
    """Those of the report, and those on corrupted images; no model, and no evaluation."""
    assert changed(inputs, data={"group": "folder"}) == {"report", "robustness"}


def test_corrupted_images_train_anew(inputs: Inputs) -> None:
    """All that is trained, the controls too; none of them has no influence on any key."""
    reached = changed(inputs, train={"corrupted": 0.3})

    assert {"recover-step1", "recover", "distill", "longer", "narrow", "no-teacher"} <= reached
    assert not reached & {"plan-step1", "prune-step1", "export-parent"}
    schedule: Any = CompressionPipeline(inputs, Workspace(Path("work"))).fine_tuned.checkpoint.stage
    assert "corrupted" not in schedule.settings["schedule"]["train"]


def test_images_that_are_resized_train_anew(inputs: Inputs) -> None:
    """Only where some are: the version of a training's result is that of resizing then."""
    side = inputs.loaded.recipe.train.image_size
    whole = [
        replace(part, images=tuple(replace(image, size_wh=(side, side)) for image in part.images))
        for part in (inputs.train, inputs.val)
    ]
    same, resized = (
        CompressionPipeline(given, Workspace(Path("work"))).fine_tuned.checkpoint.stage
        for given in (replace(inputs, train=whole[0], val=whole[1]), inputs)
    )

    assert same is not None
    assert resized is not None
    assert (same.version, resized.version) == (2, 3)


def test_further_seeds_train_again_what_depends_on_them(inputs: Inputs) -> None:
    """Product and controls, each with its own evaluation; the parent and all before a training are the same stages."""
    report_section = inputs.loaded.recipe.report.model_copy(update={"seeds": (11, 12)})
    recipe = inputs.loaded.recipe.model_copy(update={"report": report_section})
    several = replace(inputs, loaded=replace(inputs.loaded, recipe=recipe))
    pipeline = CompressionPipeline(several, Workspace(Path("work")))
    found: dict[str, str] = {}
    _collect(pipeline.report, found)

    again = pipeline.trained_again

    untouched = {RowKind.PARENT, RowKind.PARENT_INT8, RowKind.PARENT_INT8_NNCF, RowKind.INT8_UNSIGNED}
    assert set(again) == set(pipeline.evaluations) - untouched
    assert all(set(stages) == {11, 12} for stages in again.values())
    keys_of = {stage.key for stages in again.values() for stage in stages.values()}
    assert len(keys_of) == 2 * len(again)
    one = CompressionPipeline(several.with_seed(11), Workspace(Path("work")))
    assert one.evaluations[RowKind.DISTILLED].key == again[RowKind.DISTILLED][11].key
    assert one.chain is not None
    assert pipeline.chain is not None
    assert one.chain.plans[0].key == pipeline.chain.plans[0].key
    assert changed(inputs, report={"seeds": (11,)}) == {"bundle", "report"}


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


def with_sections(inputs: Inputs, **sections: Any) -> Inputs:
    """Return the inputs with some sections of the recipe as they are given."""
    recipe = Recipe.model_validate(inputs.loaded.recipe.model_dump() | sections)
    return replace(inputs, loaded=replace(inputs.loaded, recipe=recipe))


def stage_of(model: TrainedModel) -> Stage:
    """Return the stage that leaves a model."""
    assert model.checkpoint.stage is not None
    return model.checkpoint.stage


def names_before(stage: Stage) -> list[str]:
    """Return the stages that `stage` comes after, by name."""
    found: dict[str, str] = {}
    _collect(stage, found)
    return list(found)


def test_a_distillation_is_kept_only_if_it_pays(inputs: Inputs) -> None:
    """The same epochs are trained without a teacher, and what is chosen is quantized; no training has another key."""
    distill = inputs.loaded.recipe.model_dump()["distill"] | {"keep": "if-better"}
    pipeline, plain = (
        CompressionPipeline(given, Workspace(Path("work")))
        for given in (with_sections(inputs, distill=distill), inputs)
    )

    choice = stage_of(pipeline.finished)
    assert choice.name == "choice"
    assert [stage.name for stage in choice.after] == ["distill", "no-teacher"]
    assert choice.after[0].key == stage_of(plain.distilled).key
    assert "choice" in names_before(pipeline.quantized)
    assert set(pipeline.evaluations) == set(plain.evaluations) | {RowKind.CHOSEN}


def test_the_choice_trains_its_counterpart_without_being_asked(inputs: Inputs) -> None:
    """The control is its other side, and a row of the report."""
    distill = inputs.loaded.recipe.model_dump()["distill"] | {"keep": "if-better"}
    pipeline = CompressionPipeline(
        with_sections(inputs, distill=distill, report={"controls": ()}), Workspace(Path("work"))
    )

    assert {RowKind.CHOSEN, RowKind.NO_TEACHER} <= set(pipeline.evaluations)


def test_a_teacher_is_trained_before_it_teaches(inputs: Inputs) -> None:
    """Every distillation of the report learns from the same one, and the report has its row."""
    network = replace(inputs.parent, sha256="c" * 64)
    section = {"train": True, "epochs": 5}
    pipeline, plain, other = (
        CompressionPipeline(given, Workspace(Path("work")))
        for given in (
            replace(with_sections(inputs, teacher=section), teacher_network=network),
            inputs,
            replace(with_sections(inputs, teacher=section | {"epochs": 6}), teacher_network=network),
        )
    )

    teacher = stage_of(pipeline.checkpoints[RowKind.TEACHER])
    for kind in (RowKind.DISTILLED, RowKind.UNIFORM, RowKind.ONE_SHOT, RowKind.NARROW_PRETRAINED, RowKind.FIFTH):
        assert teacher.key in [stage.key for stage in stage_of(pipeline.checkpoints[kind]).after]
        assert stage_of(pipeline.checkpoints[kind]).key != stage_of(other.checkpoints[kind]).key
    assert "teacher" not in names_before(stage_of(pipeline.checkpoints[RowKind.NO_TEACHER]))
    assert stage_of(pipeline.fine_tuned).key == stage_of(plain.fine_tuned).key
    assert pipeline.checkpoints[RowKind.TEACHER].epochs == 5


def test_a_control_of_training_changes_one_thing(inputs: Inputs) -> None:
    """Of the distillation the temperature or the attention; of the fine-tuning its stages; the pruning is shared."""
    pipeline = CompressionPipeline(inputs, Workspace(Path("work")))
    own: Any = stage_of(pipeline.distilled).settings

    def differing(kind: RowKind) -> dict[str, Any]:
        stage = stage_of(pipeline.checkpoints[kind])
        assert stage.after == stage_of(pipeline.distilled).after
        settings: Any = stage.settings
        assert settings["schedule"] == own["schedule"]
        return {key: value for key, value in settings["distill"].items() if value != own["distill"][key]}

    assert differing(RowKind.TEMPERATURE) == {"temperature": 8.0, "final_temperature": 4.0}
    assert differing(RowKind.ATTENTION) == {"attention_weight": 0.0}
    for kind in (RowKind.STAGED_RATE, RowKind.FIFTH):
        assert {"plan-step1", "prune-step1"} <= set(names_before(stage_of(pipeline.checkpoints[kind])))
    staged: Any = stage_of(pipeline.checkpoints[RowKind.STAGED_RATE]).after[0].settings
    assert [phase["name"] for phase in staged["schedule"]["phases"]] == ["cosine"]
    assert pipeline.checkpoints[RowKind.STAGED_RATE].epochs == pipeline.distilled.epochs
    assert pipeline.checkpoints[RowKind.FIFTH].epochs == 5  # a fifth of 25, and each of three trainings at least one


def test_the_parent_in_int8_is_the_parent_quantized_and_nothing_else(inputs: Inputs) -> None:
    """By the product's method, without its search; and timed beside the product."""
    pipeline = CompressionPipeline(inputs, Workspace(Path("work")))

    for kind, names in (
        (RowKind.PARENT_INT8, ["prove-parent", "quantize-parent", "export-parent"]),
        (RowKind.PARENT_INT8_NNCF, ["quantize-parent-nncf", "export-parent"]),
    ):
        assert list(dict.fromkeys(names_before(pipeline.evaluations[kind])[1:])) == names
    (proven,) = pipeline.evaluations[RowKind.PARENT_INT8].after
    quantized = next(stage for stage in proven.after if stage.name == "quantize-parent")
    settings: Any = quantized.settings["quantize"]
    assert (settings["method"], settings["compare"], settings["protect"]) == ("auto", [], None)  # chosen for itself
    assert pipeline.speed is not None
    assert {"quantize-parent", "quantize-parent-nncf", "narrow-pretrained-distill"} <= set(names_before(pipeline.speed))


def test_a_narrow_network_from_pretrained_weights_trains_as_long_with_the_same_teacher(inputs: Inputs) -> None:
    """As long as parent and product together, of which the product's distillation."""
    pipeline = CompressionPipeline(inputs, Workspace(Path("work")))

    narrow, scratch = (pipeline.checkpoints[kind] for kind in (RowKind.NARROW_PRETRAINED, RowKind.NARROW))
    assert narrow.epochs == scratch.epochs
    taught: Any = stage_of(narrow).settings
    own: Any = stage_of(pipeline.distilled).settings
    assert taught == own


def test_a_latency_table_counts_by_its_content(inputs: Inputs) -> None:
    """Not by its name; it takes the place of the measurement, and every plan is made by it."""
    tables = [LatencyTableFile(Path(name), sha256) for name, sha256 in (("a", "1"), ("b", "1"), ("c", "2"))]
    found = [keys(replace(inputs, latency_table=table), prune={"latency_table": str(table.path)}) for table in tables]

    assert found[0] == found[1]
    changes = {name for name, key in found[2].items() if found[0][name] != key}
    assert {"latency", "plan-step1", "plan", "uniform-plan", "bundle"} <= changes
    assert not changes & {"longer", "export-parent"}


def test_keys_that_came_later_change_no_hash_where_they_are_not_named(inputs: Inputs) -> None:
    """So that folders of older versions are found again."""
    written = inputs.loaded.recipe.model_copy(update={"report": ReportSection()}).model_dump(mode="json")

    assert "teacher" not in written
    assert written["distill"]["keep"] == "always"  # its default changed: what is meant is written
    assert set(written["prune"]["budget"]) == {"params", "macs", "latency"}
    assert "latency_table" not in written["prune"]
    assert set(written["report"]) == {"controls", "corrupted_images"}
    budget = Budget(latency_ms=4.0)
    assert budget.model_dump() == {"params": None, "macs": None, "latency": None, "latency_ms": 4.0}
    assert Budget.model_validate_json(budget.model_dump_json()) == budget
