# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where keys stand in TOML, and that both programs tell problems in the same way."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vision_line.config.load import load_config
from vision_line.config.models import Config
from vision_line.config.toml import KeyPath, dotted, line_of, locate_keys, problems_of, read_toml
from vision_line.errors import ConfigError
from vision_line_compression.pipeline.recipe import load_recipe

Load = Callable[[Path], object]

BOTH = pytest.mark.parametrize("load", [load_config, load_recipe, read_toml])

NAMES = st.sampled_from(["a", "b", "stream", "a.b", "two words", "x-1"])
VALUES = st.dictionaries(NAMES, st.just("1"), max_size=3)
#: [[array]] tables with keys and tables of their own, in one file.
ARRAYS = st.dictionaries(NAMES, st.lists(st.tuples(VALUES, st.dictionaries(NAMES, VALUES, max_size=2)), max_size=3))


def quoted(*names: str) -> str:
    """Return a dotted key that may hold anything."""
    return ".".join(name if name.replace("-", "").isalnum() else f'"{name}"' for name in names)


def problems(load: Load, path: Path) -> list[str]:
    """Return what `load` says about `path`, without the path."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def every_number(data: object, path: KeyPath = ()) -> list[KeyPath]:
    """Return the paths of all numbers in `data`."""
    if isinstance(data, dict):
        return [found for key, value in data.items() for found in every_number(value, (*path, key))]
    if isinstance(data, list):
        return [found for index, value in enumerate(data) for found in every_number(value, (*path, index))]
    return [path]


def inside(data: Any, path: KeyPath) -> Any:
    """Return what stands at `path`."""
    return inside(data[path[0]], path[1:]) if path else data


@given(ARRAYS)
def test_every_key_is_found_on_the_line_that_it_stands_on(
    arrays: dict[str, list[tuple[dict[str, str], dict[str, dict[str, str]]]]],
) -> None:
    """In array tables, in tables below them, and under quoted names: each value is the number of its own line."""
    lines: list[str] = []
    for array, tables in arrays.items():
        for own, below in tables:
            lines.append(f"[[{quoted(array)}]]  # one more")
            lines += [f"{quoted(key)} = {len(lines) + number}" for number, key in enumerate(own, start=1)]
            for name, values in below.items():
                if name in own:
                    continue
                lines.append(f"[{quoted(array, name)}]")
                lines += [f"  {quoted(key)} = {len(lines) + number}" for number, key in enumerate(values, start=1)]
    text = "\n".join(lines)
    data, located = tomllib.loads(text), locate_keys(text)

    for path in every_number(data):
        assert located[path] == inside(data, path)


def test_what_is_not_located_has_the_line_of_what_encloses_it() -> None:
    """A key of an inline table, a number of a list, a key that is missing."""
    located = locate_keys("a = 1\n[b]\nc = { d = [1, 2] }\n")

    assert line_of(("b", "c", "d", 1), located) == 3
    assert line_of(("b", "missing"), located) == 2
    assert line_of(("missing",), located) == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (("stream", 0, "url"), "stream[cam03].url"),
        (("stream", 1, "url"), "stream[2].url"),
        (("stream", 7, "url"), "stream[8].url"),
        (("roi", 0, 1), "roi[1][2]"),
        ((), "file"),
    ],
)
def test_a_key_is_written_as_people_do(path: KeyPath, said: str) -> None:
    """A table of an array by its name, and all else counted from 1."""
    assert dotted(path, {"stream": [{"name": "cam03"}, {"name": 3}], "roi": [[1, 2]]}) == said


@BOTH
def test_both_programs_name_the_line_of_a_syntax_error(load: Load, tmp_path: Path) -> None:
    """Where the parser stopped."""
    path = tmp_path / "wrong.toml"
    path.write_text("a = 1\nb = \n")

    assert problems(load, path) == ["2: not valid TOML: Invalid value (column 5)"]


@BOTH
def test_both_programs_say_which_byte_is_no_text(load: Load, tmp_path: Path) -> None:
    """The byte and its place."""
    path = tmp_path / "latin.toml"
    path.write_bytes(b'a = "\xff"')

    assert problems(load, path) == [" expected UTF-8 text, found byte 0xff at 5"]


@BOTH
def test_both_programs_say_why_a_file_cannot_be_read(load: Load, tmp_path: Path) -> None:
    """In the system's words."""
    assert problems(load, tmp_path / "none.toml") == [" cannot be read: No such file or directory"]


@pytest.mark.parametrize("load", [load_config, load_recipe])
def test_both_programs_keep_secrets_and_whole_tables_to_themselves(load: Load, tmp_path: Path) -> None:
    """Also where a long value is cut before the end of its password."""
    path = tmp_path / "secret.toml"
    url = f"rtsp://user:sek7et{'x' * 80}@host/x"
    path.write_text(
        f'config_version = "{url}"\nrecipe_version = "{url}"\nstream = {{ url = "{url}" }}\nname = {{ a = 1 }}'
    )

    reported = "\n".join(problems(load, path))

    assert "found 'rtsp://***@host/x', expected 1" in reported
    assert "found a table" in reported or "found [stream], expected [[stream]]" in reported
    assert "sek7et" not in reported


def test_a_step_of_a_recipe_is_counted_from_1_and_found_below_its_header(tmp_path: Path) -> None:
    """`[step.budget]` belongs to the `[[step]]` before it."""
    path = tmp_path / "recipe.toml"
    path.write_text(
        'recipe_version = 1\nname = "a"\n[parent]\ncheckpoint = "a.pt"\n[data]\nyaml = "d.yaml"\n'
        "[prune]\nbudget = { macs = 0.4 }\n[recover]\nepochs = 10\n"
        "[[step]]\nepochs = 1\n[step.budget]\nmacs = 0.8\n[[step]]\nepochs = 1\n[step.budget]\nmacs = 7\n"
    )

    assert problems(load_recipe, path) == ["18: step[2].budget.macs: found 7, expected less than or equal to 1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[recipe]\nmin_hits = 7\n[[stream]]\nname = "a"\nurl = "x"\n', "recipe.min_hits: found 7, expected a table"),
        ("[[modbus]]\n", "modbus: found [[modbus]], expected [modbus]"),
        ('[stream]\nname = "a"\n', "stream: found [stream], expected [[stream]]"),
        ("[model]\ndevice = 7\n", "model.device: found 7, expected a text in quotation marks"),
        (
            '[[output]]\ntype = "mqqt"\n',
            "output[1].type: found 'mqqt', expected one of 'mqtt', 'webhook', 'opcua'",
        ),
        ('[[output]]\nname = "mes"\n', "output[mes].type: is missing"),
    ],
)
def test_what_is_of_the_wrong_kind_is_said_in_the_words_of_toml(text: str, said: str, tmp_path: Path) -> None:
    """Not in those of Python's types."""
    path = tmp_path / "wrong.toml"
    path.write_text(f"config_version = 1\n{text}")

    assert any(said in problem for problem in problems(load_config, path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[lanes]]\n", "2: lanes: unknown key, did you mean [[lane]]?"),
        ("[Lane]\n", "2: Lane: unknown key, did you mean [[lane]]?"),
        ("[recipes.7]\n", "2: recipes: unknown key, did you mean [recipe.NAME]?"),
        ("[metric]\n", "2: metric: unknown key, did you mean [metrics]?"),
        ("config-version = 1\n", "2: config-version: unknown key, did you mean config_version?"),
        ('[[lane]]\nname = "a"\nwindow = [1, 2]\n', "4: lane[a].window: unknown key, did you mean window_ms?"),
        (
            '[[output]]\ntype = "webhook"\nname = "h"\nurls = "x"\n',
            "5: output[h].urls: unknown key, did you mean url?",
        ),
        ("[recipe.7]\nmin-hits = 2\n", "3: recipe.7.min-hits: unknown key, did you mean min_hits?"),
        ("[clips]\nzzz = 1\n", "3: clips.zzz: unknown key, expected one of pre_s, post_s, max_s, memory_mb"),
        ("[cameras]\n", "2: cameras: unknown key, expected one of config_version, [model], [defaults]"),
        ("lane = 7\n", "2: lane: found lane = 7, expected [[lane]]"),
        ("[lane]\n[[lane]]\n", "3: lane: found [[lane]] here and [lane] in line 2, expected [[lane]] for each"),
        ("[[lane]]\n[ lane ]\n", "3: lane: found [lane] here and [[lane]] in line 2, expected [[lane]] for each"),
        ("[modbus]\n[modbus]\n", "3: modbus: [modbus] is there already, in line 2"),
    ],
)
def test_a_name_that_nothing_has_comes_with_what_was_meant(text: str, said: str, tmp_path: Path) -> None:
    """Tables as keys, in the brackets that they need; where nothing is like it, what there is."""
    path = tmp_path / "wrong.toml"
    path.write_text(f"config_version = 1\n{text}")

    assert any(problem.startswith(said) for problem in problems(load_config, path))


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12))
def test_whatever_a_key_is_called_something_true_is_said_of_it(name: str) -> None:
    """And a key that is known is never called unknown."""
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"config_version": 1, "stream": [{"name": "a", "url": "rtsp://h/x"}], f"x_{name}": 1})
    ((path, words),) = problems_of(caught.value, Config)

    assert path == (f"x_{name}",)
    assert words.startswith(("unknown key, did you mean ", "unknown key, expected one of "))
