# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a node has otherwise than this machine, in words; and what is said before Ray is asked at all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from vision_line.cluster.ray_cluster import CallAnswer, check_address
from vision_line.cluster.worker_check import Requirements, differences, program_of
from vision_line.errors import ConfigError

HERE = {"vision_line": "a" * 64, "numpy": "2.1", "onnx": ""}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (HERE, ""),
        (HERE | {"vision_line": "b" * 64}, "has another vision_line than this machine"),
        ({"numpy": "2.1", "onnx": ""}, "lacks vision_line"),
        (HERE | {"numpy": "2.2"}, "numpy: expected 2.1, found 2.2"),
        (HERE | {"onnx": "1.17"}, "onnx: expected none, found 1.17"),
        (HERE | {"numpy": ""}, "numpy: expected 2.1, found none"),
    ],
)
def test_differences_are_said_in_words(there: dict[str, str], said: str) -> None:
    assert differences(HERE, CallAnswer(json.dumps(there))).startswith(said)
    assert bool(differences(HERE, CallAnswer(json.dumps(there)))) == bool(said)


def test_all_of_them_are_said() -> None:
    found = differences(HERE, CallAnswer(json.dumps({"numpy": "2.2", "onnx": ""})))
    assert found == "lacks vision_line; numpy: expected 2.1, found 2.2"


def test_a_node_that_does_not_answer_lacks_that() -> None:
    assert differences(HERE, CallAnswer(problem="did not answer within 120 s")) == "did not answer within 120 s"


def test_a_changed_file_is_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its version says; a package that is not there is not named."""
    package = tmp_path / "made_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    owned = program_of(Requirements(("made_package", "no_such_package"), ("numpy", "no-such-library")))

    before = json.loads(owned()[0])
    (package / "more.py").write_text("x = 1")
    after = json.loads(owned()[0])

    assert before.keys() == after.keys() == {"made_package", "numpy", "no-such-library"}
    assert before["made_package"] != after["made_package"]
    assert before["no-such-library"] == ""


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1", "local", "", ":6379", "box:port"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="--ray: expected auto or HOST:PORT"):
        check_address(address)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"--ray needs the package ray: run pip install '\.\[cluster\]'"):
        check_address("auto")
