# SPDX-License-Identifier: AGPL-3.0-or-later
"""Each recipe is checked at each camera as if it were in force, before it ever is."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_line.config.camera_recipes import KEYS, differs_in_recipe_only, each_setting, under_recipe, unknown_classes
from vision_line.config.load import LoadedConfig, load_config
from vision_line.config.models import StreamSettings
from vision_line.errors import ConfigError

CAMERAS = """[[stream]]
name = "a"
url = "rtsp://u:p@host/a"
warn_threshold = 0.4
recipe = "label"
[[stream]]
name = "b"
url = "rtsp://host/b"
inspect_fps = 4
[[stream]]
name = "off"
url = "rtsp://host/c"
enabled = false
reject_threshold = 0.1
"""


def load(folder: Path, recipes: str) -> LoadedConfig:
    path = folder / "streams.toml"
    path.write_text(f"config_version = 1\n{recipes}\n{CAMERAS}", encoding="utf-8")
    return load_config(path, environment={})


def test_a_recipe_replaces_what_it_sets_where_it_is_to(tmp_path: Path) -> None:
    config = load(tmp_path, '[recipe.7]\nmin_hits = 2\nthresholds = { open = 0.9 }\ncameras = ["a"]').config
    a, b, _ = config.stream
    under_a, under_b = under_recipe(config, a, "7"), under_recipe(config, b, "7")
    assert (under_a.min_hits, under_a.thresholds, under_a.warn_threshold, under_a.recipe) == (
        2,
        {"open": 0.9},
        0.4,
        "7",
    )
    assert (under_b.min_hits, under_b.thresholds, under_b.recipe) == (3, {}, "7")
    assert under_recipe(config, a, "") is a
    assert under_a.url.get_secret_value() == a.url.get_secret_value()
    assert differs_in_recipe_only(a, under_a)
    assert not differs_in_recipe_only(a, under_a.model_copy(update={"transport": "udp"}))
    assert [(one.name, one.recipe) for one in each_setting(config)] == [
        ("a", "label"),
        ("b", ""),
        ("a", "7"),
        ("b", "7"),
    ]


def test_a_recipe_has_no_key_that_a_camera_has_not() -> None:
    """What it sets is put in place of the camera's, by its name."""
    assert set(StreamSettings.model_fields) >= KEYS


@pytest.mark.parametrize(
    ("recipes", "problem"),
    [
        ("[recipe.7]\nreject_threshold = 0.3", ":2: recipe.7: at a: warn_threshold: expected at most reject_threshold"),
        ("[recipe.7]\nwarn_threshold = 0.8", ":3: recipe.7.warn_threshold: at a, b: expected at most reject_threshold"),
        ("[recipe.7]\nmin_hits = 20", ":2: recipe.7: at b: inspect_fps: found 4, expected at least 10"),
        (
            "[recipe.7]\nmax_inspection_gap_ms = 9000",
            ":3: recipe.7.max_inspection_gap_ms: at a, b: found 9000, expected",
        ),
        ("[recipe.7]\nmin_hits = 0", ":3: recipe.7.min_hits: found 0, "),
        (
            '[recipe.7]\ntransport = "udp"',
            ":3: recipe.7.transport: a recipe cannot change it, expected one of accept_classes",
        ),
        (
            '[recipe.label]\nmodel = "b"',
            ":3: recipe.label.model: at a: its own `recipe` has this name too, use another one",
        ),
        ("[recipe.7]\nminhits = 2", ":3: recipe.7.minhits: unknown key"),
        ('[recipe.7]\ncameras = ["z"]', ":3: recipe.7.cameras: expected names of streams, found z"),
        (
            '[recipe."a b"]\nmin_hits = 2',
            ": recipe: expected names of 1 to 64 letters, digits, '_', '.', '-', found 'a b'",
        ),
    ],
)
def test_what_could_never_work_is_refused_once_with_its_line(tmp_path: Path, recipes: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, recipes)

    (found,) = caught.value.problems
    assert problem in found


def test_a_class_that_the_model_has_not_is_named(tmp_path: Path) -> None:
    config = load(tmp_path, '[recipe.7]\nclasses = ["open", "scratch"]\nthresholds = { dent = 0.9 }').config
    assert [path for path, _ in unknown_classes(config, ("open", "short"), {})] == [
        ("recipe", "7", "classes", "scratch"),
        ("recipe", "7", "thresholds", "dent"),
    ]


def test_a_recipe_with_a_model_leaves_no_class_of_another(tmp_path: Path) -> None:
    """What it names must be of its own model, and so must what it leaves as the cameras have it."""
    text = '[recipe.7]\nmodel = "m"\nclasses = ["dent", "open"]\n[recipe.8]\nmodel = "m"\nthresholds = {}\n[recipe.9]\n'
    config = load(tmp_path, f"{text}min_hits = 2\n[defaults]\nthresholds = {{ open = 0.4 }}").config
    found = unknown_classes(config, ("open",), dict.fromkeys("78", ("dent",)))
    assert found == [
        (("recipe", "7", "classes", "open"), "no class of the model, expected one of dent"),
        (
            ("recipe", "7", "model"),
            "at a, b: thresholds.open of the camera is no class of this model (dent):"
            " give the recipe thresholds of its own",
        ),
    ]
