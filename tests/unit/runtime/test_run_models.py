# SPDX-License-Identifier: AGPL-3.0-or-later
"""The models of a run: which inspects where, one list of classes, and what a file that changes may change of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.proven_bundle import write_proven_bundle
from tests.fakes.tiny_model import build_tiny_model

from vision_line.config.load import LoadedConfig, load_config
from vision_line.devices.model.model import open_model
from vision_line.errors import ConfigError, ModelError
from vision_line.frames import OWN_MODEL
from vision_line.runtime.run_models import ModelsInForce, RunModels, class_numbers, line_models, open_run_models

CAMERAS = "".join(f'[[stream]]\nname = "{name}"\nurl = "rtsp://host/{name}"\n' for name in "ab")
CAPS = '[recipe.caps]\nmodel = "caps.onnx"\ncameras = ["a"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three models; the third has a class that the others lack, the first is the run's own."""
    models = {"own": ("red", "green", "blue"), "caps": ("dent", "red", "blue"), "new": ("x", "y", "z")}
    for name, classes in models.items():
        names = str(dict(enumerate(classes)))
        (tmp_path / f"{name}.onnx").write_bytes(build_tiny_model(names=names))
    return tmp_path


def load(folder: Path, recipes: str) -> LoadedConfig:
    path = folder / "streams.toml"
    path.write_text(f"config_version = 1\n{recipes}{CAMERAS}", encoding="utf-8")
    return load_config(path)


def opened(folder: Path, recipes: str) -> tuple[LoadedConfig, RunModels]:
    loaded = load(folder, recipes)
    return loaded, open_run_models(loaded, open_model(folder / "own.onnx"), allow_failed_gates=False)


def in_force(folder: Path, recipes: str = CAPS) -> ModelsInForce:
    return ModelsInForce(*opened(folder, recipes), allow_failed_gates=False)


def test_each_model_is_there_once_under_all_of_its_recipes(folder: Path) -> None:
    recipes = (
        f'{CAPS}[recipe.lids]\nmodel = "caps.onnx"\n[recipe.own]\nmodel = "own.onnx"\n[recipe.plain]\nmin_hits = 2\n'
    )
    loaded, models = opened(folder, recipes)
    caps = models.by_recipe["caps"].sha256
    assert list(models.by_key) == [OWN_MODEL, caps]
    assert models.recipes_of(caps) == ["caps", "lids"]
    asked = [("", "a"), ("caps", "a"), ("caps", "b"), ("lids", "b"), ("own", "a"), ("x", "a")]
    found = [models.key_at(loaded.config, *one) for one in asked]
    assert found == [OWN_MODEL, caps, OWN_MODEL, caps, OWN_MODEL, OWN_MODEL]


def test_each_file_of_a_line_is_there_once_with_who_names_it(folder: Path) -> None:
    """Also where it is missing: who looks at it says so."""
    recipes = f'{CAPS}[recipe.lids]\nmodel = "caps.onnx"\n[recipe.gone]\nmodel = "gone"\n[recipe.plain]\nmin_hits = 2\n'
    loaded = load(folder, recipes)
    others = [("recipe caps, recipe lids", folder / "caps.onnx"), ("recipe gone", folder / "gone")]
    assert line_models(loaded, None) == [("the line", None), *others]
    same = folder / "caps.onnx"
    assert line_models(loaded, same) == [("the line, recipe caps, recipe lids", same), others[1]]


def test_the_run_has_one_list_of_classes(folder: Path) -> None:
    """A class of two models is one; the run's own keep their numbers."""
    _, models = opened(folder, CAPS)
    assert models.classes == ("red", "green", "blue", "dent")
    assert class_numbers(models.by_recipe["caps"], models.classes).tolist() == [3, 0, 2]


def test_a_model_that_cannot_be_read_is_named_with_its_recipe(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"streams.toml: recipe.caps.model: .*gone.onnx: not found"):
        opened(folder, '[recipe.caps]\nmodel = "gone.onnx"\n')


def test_a_new_recipe_may_bring_a_model_whose_classes_are_known(folder: Path) -> None:
    models = in_force(folder)
    loaded = load(folder, f'{CAPS}[recipe.other]\nmodel = "own.onnx"\n')
    (folder / "caps.onnx").unlink()  # what is in use is not read again
    models.adopt(loaded, models.following(loaded))
    assert (models.key_at("other", "a"), models.at("caps", "a").classes[0]) == (OWN_MODEL, "dent")


@pytest.mark.parametrize(
    ("recipes", "problem"),
    [
        ('[recipe.caps]\nmodel = "own.onnx"\n', "recipe.caps.model: camera a would be inspected by another model"),
        ("[recipe.caps]\nmin_hits = 2\n", "recipe.caps.model: camera a would be inspected by another model"),
        ('[recipe.caps]\nmodel = "caps.onnx"\n', "recipe.caps.model: camera b would be inspected by another model"),
        (
            '[recipe.x]\nmin_hits = 2\n[defaults]\nrecipe = "caps"\n',
            "recipe.caps.model: camera a would be inspected by",
        ),
        (f'{CAPS}[recipe.n]\nmodel = "new.onnx"\n', "recipe.n.model: its classes x, y, z are new to this run"),
        (f'{CAPS}[recipe.n]\nmodel = "gone.onnx"\n', "recipe.n.model: .*gone.onnx: not found"),
    ],
)
def test_what_needs_a_restart_is_refused(folder: Path, recipes: str, problem: str) -> None:
    """Records say the recipe and, by it, the model; and the feed has told the classes."""
    models = in_force(folder)
    with pytest.raises(ConfigError, match=problem):
        models.following(load(folder, recipes))


def test_a_recipe_keeps_its_model_though_it_was_away(folder: Path) -> None:
    models = in_force(folder)
    without = load(folder, "")
    models.adopt(without, models.following(without))
    with pytest.raises(ConfigError, match="would be inspected by another model"):
        models.following(load(folder, '[recipe.caps]\nmodel = "own.onnx"\n'))
    again = load(folder, CAPS)
    models.adopt(again, models.following(again))
    assert models.at("caps", "a").classes[0] == "dent"


def test_one_file_with_two_sets_of_thresholds_is_refused(folder: Path) -> None:
    """Records name a model by its file: they could not tell which it was."""
    variants = {"qdq-s8-symmetric": build_tiny_model(quantized=True)}
    write_proven_bundle(folder / "one", variants)
    write_proven_bundle(folder / "other", variants, names=("red", "green", "azure"))
    with pytest.raises(ModelError, match=r"recipe.b.model: .* are one file, with other classes"):
        opened(folder, '[recipe.a]\nmodel = "one"\n[recipe.b]\nmodel = "other"\n')
