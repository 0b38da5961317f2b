# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is said of a model that did not pass its gates, or that nobody held against them yet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vision_line.devices.model.failed_gates import NOT_CHECKED, check_gates_passed, gates_warning
from vision_line.devices.model.model import SHIPPED_BUNDLE, Model, open_model
from vision_line.errors import ModelError


def marked(folder: Path, *gates: str) -> Model:
    """Return the shipped model with these marks."""
    bundle = shutil.copytree(SHIPPED_BUNDLE, folder / "bundle")
    description = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps(description | {"failed_gates": gates}))
    return open_model(bundle)


def test_a_model_whose_gates_were_not_checked_is_refused(tmp_path: Path) -> None:
    """The message says what checks them, and how to inspect all the same."""
    model = marked(tmp_path, NOT_CHECKED)

    with pytest.raises(ModelError, match=r"was not checked yet: `vision-line-compress report`.*--allow-failed-gates"):
        check_gates_passed(model, allowed=False)
    check_gates_passed(model, allowed=True)


def test_a_model_that_passed_is_not_spoken_of(tmp_path: Path) -> None:
    """As one that never had gates."""
    model = marked(tmp_path)

    check_gates_passed(model, allowed=False)
    assert gates_warning(model) == ""
