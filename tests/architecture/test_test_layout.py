# SPDX-License-Identifier: AGPL-3.0-or-later
"""The order of the tests: what tiers share is in fakes and builders, and unit tests mirror the packages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.conftest import spread

ROOT = Path(__file__).parents[2]
TIERS = ("unit", "contract", "integration", "e2e", "architecture")
FILES = sorted(path for folder in ("tests", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py"))
APP = ROOT / "app" / "vision_line"

#: How many test files of each kind there are, about.
COUNTS = {"contract": 20, "e2e": 29, "integration": 170, "unit": 500}

#: A tier by its module's name, however it is imported.
NAMED = re.compile(rf"\btests\s*\.\s*({'|'.join(TIERS)})\b")


def imported_tiers(path: Path) -> Iterator[str]:
    """Yield the tiers of tests that the file imports from, also for its types."""
    text = path.read_text(encoding="utf-8")
    if not NAMED.search(text):  # most do not, and need not be parsed
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith(tuple(f"tests.{tier}." for tier in TIERS)))


def test_a_tier_imports_from_no_other() -> None:
    """What two of them need is in `tests/fakes` or `tests/builders.py`, which need no tier."""
    foreign = {
        str(path.relative_to(ROOT)): tiers
        for path in FILES
        if (tiers := {*imported_tiers(path)}.difference(path.relative_to(ROOT).parts[1:2]))
    }

    assert foreign == {}


def test_helpers_are_among_the_fakes() -> None:
    """Beside the tiers lie only what pytest reads and the builders."""
    assert {path.name for path in (ROOT / "tests").glob("*.py")} == {"builders.py", "conftest.py"}


def test_unit_tests_mirror_the_packages() -> None:
    """Their folders are those of the packages, so that a module's tests are found without a search."""
    unit = ROOT / "tests" / "unit"
    folders = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}
    mirrored = {folder for folder in folders if (APP / folder).is_dir()}
    compression = {folder for folder in folders if folder.parts[:1] == ("compression",)}
    rooms = ROOT / "compression" / "vision_line_compression"

    assert folders - mirrored - compression == {Path("benchmarks"), Path("tools")}
    assert all((rooms / folder.relative_to("compression")).is_dir() for folder in compression)


def test_loose_unit_tests_are_of_modules_outside_every_room() -> None:
    """Such as `wakefulness.py`."""
    loose = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "unit").glob("test_*.py")}

    assert loose <= {path.stem for path in APP.glob("*.py")}


def test_files_that_wait_are_spread_over_those_that_compute() -> None:
    """None is lost, each kind keeps its order, and at the end stand the short ones."""
    names = [f"tests/{folder}/test_{n:03d}.py" for folder, count in COUNTS.items() for n in range(count)]
    order = spread(names)

    assert sorted(order) == sorted(names)
    for folder in COUNTS:
        assert [name for name in order if f"/{folder}/" in name] == [name for name in names if f"/{folder}/" in name]
    at = [place for place, name in enumerate(order) if "/e2e/" in name]
    assert at[0] == 0
    assert min(later - sooner for sooner, later in pairwise(at)) > 1
    assert at[-1] < 0.9 * len(order)
    assert spread(names[:3]) == names[:3]
    assert spread([]) == []


def test_marks_of_tests_that_run_alone_are_in_files_of_tests() -> None:
    """`make test` gives pytest the files that have them: importing all others takes half a minute."""
    marked = [path for path in FILES if "mark.alone" in path.read_text(encoding="utf-8")]

    assert {path.name[:5] for path in marked} == {"test_"}
