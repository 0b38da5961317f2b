# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recipes: read strictly, every problem at once with its line; the shipped ones are valid."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from vision_line.errors import ConfigError
from vision_line_compression.pipeline.recipe import Control, load_recipe

SHIPPED = Path(__file__).parents[4] / "compression" / "recipes"

MINIMAL = """recipe_version = 1
name = "mine"

[parent]
checkpoint = "parent.pt"

[data]
yaml = "data/data.yaml"

[prune]
budget = { macs = 0.4 }

[recover]
epochs = 10
"""


def write(folder: Path, text: str) -> Path:
    """Write a recipe."""
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    """Return the problems of a recipe, without its path."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_a_minimal_recipe_has_defaults_and_paths_beside_it(tmp_path: Path) -> None:
    """No teacher, no controls; 640 pixels."""
    loaded = load_recipe(write(tmp_path, MINIMAL))

    assert loaded.checkpoint == tmp_path / "parent.pt"
    assert loaded.data_yaml == tmp_path / "data" / "data.yaml"
    assert loaded.recipe.distill is None
    assert loaded.recipe.input.shapes_hw == ((640, 640),)


def test_options_replace_paths(tmp_path: Path) -> None:
    """And may stand for keys that are missing."""
    text = MINIMAL.replace('[parent]\ncheckpoint = "parent.pt"\n', "")

    loaded = load_recipe(write(tmp_path, text), tmp_path / "other.pt", tmp_path / "other.yaml")

    assert (loaded.checkpoint, loaded.data_yaml) == (tmp_path / "other.pt", tmp_path / "other.yaml")


def test_every_problem_is_reported_with_its_line(tmp_path: Path) -> None:
    """Missing, unknown, out of range, of the wrong kind."""
    text = MINIMAL.replace('name = "mine"\n', "nmae = 1\n").replace("epochs = 10", "epochs = 0\nsettle_rate = 'fast'")

    found = problems(tmp_path, text)

    assert found == [
        "1: name: is missing",
        "2: nmae: unknown key, did you mean name?",
        "14: recover.epochs: found 0, expected greater than or equal to 1",
        "15: recover.settle_rate: found 'fast', expected a valid number, unable to parse string as a number",
    ]


def test_sections_must_fit_together(tmp_path: Path) -> None:
    """A share needs the parent's length, a control the section that it compares with."""
    share = problems(tmp_path, MINIMAL.replace("epochs = 10", "share = 0.2"))
    control = problems(tmp_path, MINIMAL + '[report]\ncontrols = ["no-teacher"]\n')

    assert share == ["1: file: recover.share: is a share of the parent's epochs, expected parent.epochs"]
    assert control == ["1: file: report.controls: 'no-teacher' compares with [distill], which is missing"]


@pytest.mark.parametrize(("key", "own"), [("score_threshold", "score"), ("nms_iou", "nms_iou")])
def test_gates_hold_at_the_thresholds_of_the_bundle(key: str, own: str, tmp_path: Path) -> None:
    """At its own thresholds: others would pass a model that inspects otherwise."""
    found = problems(tmp_path, MINIMAL + f"[evaluate]\n{key} = 0.4\n")

    assert len(found) == 1
    assert f"evaluate.{key}:" in found[0]
    assert found[0].endswith(f"set operating.{own}")


def test_a_narrow_network_needs_the_length_of_the_parents_training(tmp_path: Path) -> None:
    """Trained for less than the product it would lose by that alone."""
    found = problems(tmp_path, MINIMAL + '[report]\ncontrols = ["narrow"]\n')

    assert len(found) == 1
    assert "report.controls: 'narrow'" in found[0]
    assert "trains for as long as all together, parent.epochs: one of them, which is missing" in found[0]


def test_a_recipe_without_pruning_has_no_steps_to_it_and_no_controls_of_it(tmp_path: Path) -> None:
    """It trains on, which is all that reviewed images need."""
    unpruned = MINIMAL.replace("[prune]\nbudget = { macs = 0.4 }\n", "")

    assert load_recipe(write(tmp_path, unpruned)).recipe.prune is None
    step = problems(tmp_path, unpruned + "[[step]]\nbudget = { macs = 0.8 }\nepochs = 1\n")
    control = problems(tmp_path, unpruned + '[report]\ncontrols = ["uniform"]\n')
    assert step == ["1: file: step: stops on the way to [prune], which is missing"]
    assert control == ["1: file: report.controls: 'uniform' compares with [prune], which is missing"]


UNTRAINED = MINIMAL.partition("[prune]")[0]


def test_a_recipe_may_quantize_alone(tmp_path: Path) -> None:
    """Without [recover] nothing may be taken from the network that only training gives back."""
    assert load_recipe(write(tmp_path, UNTRAINED)).recipe.recover is None
    (cut,) = problems(tmp_path, UNTRAINED + "[prune]\nbudget = { macs = 0.4 }\n")
    (pulled,) = problems(tmp_path, UNTRAINED + "[sparsify]\nepochs = 1\n")

    assert cut == "1: file: prune: what it takes from the network [recover] gives back, which is missing"
    assert pulled == "1: file: sparsify: what it takes from the network [recover] gives back, which is missing"


@pytest.mark.parametrize("control", ["longer", "parent-int8", "staged-rate", "fifth"])
def test_what_trains_nothing_is_compared_with_no_training(tmp_path: Path, control: str) -> None:
    """Nor with itself; by another quantizer it may be."""
    found = problems(tmp_path, UNTRAINED + f'[report]\ncontrols = ["{control}"]\n')
    by_nncf = write(tmp_path, UNTRAINED + '[report]\ncontrols = ["parent-int8-nncf"]\n')

    assert len(found) == 1
    assert f"report.controls: '{control}'" in found[0]
    assert load_recipe(by_nncf).recipe.report.controls == (Control.PARENT_INT8_NNCF,)


def test_what_trains_nothing_has_no_further_seeds(tmp_path: Path) -> None:
    """They would change nothing, in silence."""
    found = problems(tmp_path, UNTRAINED + "[report]\nseeds = [1, 2]\n")

    assert found == ["1: file: report.seeds: are those of further trainings, and this recipe trains nothing"]


def test_the_search_for_float_parts_is_compared_with_none(tmp_path: Path) -> None:
    """The parent in INT8 throughout is no longer the product then."""
    searched = UNTRAINED + '[quantize.protect]\nmost_probed = 2\n[report]\ncontrols = ["parent-int8"]\n'

    assert load_recipe(write(tmp_path, searched)).recipe.report.controls == (Control.PARENT_INT8,)


def test_data_sets_are_added_by_the_recipe_and_by_options(tmp_path: Path) -> None:
    """Those of the recipe lie beside it, those of options where the command runs."""
    text = MINIMAL.replace('yaml = "data/data.yaml"', 'yaml = "data/data.yaml"\nmore = ["reviewed/data.yaml"]')

    loaded = load_recipe(write(tmp_path, text), more_data=[Path("more.yaml")])

    assert loaded.more_data == (tmp_path / "reviewed" / "data.yaml", Path.cwd() / "more.yaml")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("[report]\nseeds = [1, 1]\n", "report.seeds: expected seeds that differ from each other and from seed = 0"),
        ("[report]\nseeds = [0]\n", "report.seeds: expected seeds that differ from each other and from seed = 0"),
        ("[gates]\ncorrupted_miss_rise = 0.5\n", "gates.corrupted_miss_rise: is measured on report.corrupted_images"),
        ("[[step]]\nbudget = { macs = 0.3 }\nepochs = 1\n", "step[1].budget.macs: expected at least 0.4"),
        ("[quantize]\nmethod = 'best'\n", "quantize.method"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, more: str, expected: str) -> None:
    """Before anything is trained: a step below the end, a gate on nothing, a seed that was trained already."""
    found = problems(tmp_path, MINIMAL + more)

    assert any(expected in problem for problem in found)


def test_a_pattern_of_groups_must_be_one(tmp_path: Path) -> None:
    """A folder, or an expression that can be read."""
    text = MINIMAL.replace('yaml = "data/data.yaml"', 'yaml = "data/data.yaml"\ngroup = "("')

    (found,) = problems(tmp_path, text)

    assert "data.group" in found
    assert "expected 'folder' or a regular expression" in found


@pytest.mark.parametrize("text", ["recipe_version = ", "\xff"])
def test_what_is_no_toml_is_one_clear_error(text: str, tmp_path: Path) -> None:
    """With the place that the parser names."""
    path = tmp_path / "recipe.toml"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(ConfigError, match=r"recipe\.toml"):
        load_recipe(path)


@pytest.mark.parametrize(
    "name", ["bsdata", "controls", "deeppcb", "deeppcb-tiles", "demo", "demo-controls", "int8", "reviewed"]
)
def test_shipped_recipes_are_valid(name: str) -> None:
    """Paths come from options."""
    loaded = load_recipe(SHIPPED / f"{name}.toml", Path("parent.pt"), Path("data.yaml"))

    assert loaded.recipe.name in (name, f"pcb-{name}")
    assert set(loaded.recipe.report.controls) <= set(Control)


def test_a_recipe_is_read_without_torch(tmp_path: Path) -> None:
    """So that a typing error is answered at once; and help is instant."""
    code = (
        "import sys; from vision_line_compression import cli; "
        "from vision_line_compression.pipeline import recipe; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    begin = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", "from vision_line_compression.cli import main; main()", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "quantize" in done.stdout
    # 0.3 s; with torch it would be several. Of the processor's time, so that a busy machine is no slow program.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - begin < 2
