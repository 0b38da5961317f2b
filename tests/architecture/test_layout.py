# SPDX-License-Identifier: AGPL-3.0-or-later
"""The walls of the repository: source roots, licence headers, import contracts, tidy names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("app", "compression", "tests", "tools", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)


def test_source_roots_are_not_packages() -> None:
    """On Python 3.14 a compression/__init__.py would hide the standard library's `compression`."""
    assert not [root for root in ("app", "compression") if (ROOT / root / "__init__.py").exists()]


def test_package_names_do_not_hide_the_standard_library() -> None:
    """Each source root holds one package, and no folder of Python's name."""
    packages = {path.parent.name for root in ("app", "compression") for path in (ROOT / root).glob("*/__init__.py")}

    assert packages == {"vision_line", "vision_line_compression"}
    assert not packages & sys.stdlib_module_names


def names_licence_and_idea(path: Path) -> bool:
    """Say whether a file has an SPDX line, then a module docstring."""
    licence, idea = [*path.read_text(encoding="utf-8").splitlines()[:2], "", ""][:2]
    return licence == "# SPDX-License-Identifier: AGPL-3.0-or-later" and idea.startswith(('"""', 'r"""'))


def test_every_file_names_its_licence_and_its_idea() -> None:
    assert [str(path.relative_to(ROOT)) for path in SOURCES if not names_licence_and_idea(path)] == []


def test_a_file_without_them_is_found(tmp_path: Path) -> None:
    """So the test above sees what it should."""
    path = tmp_path / "bare.py"
    path.write_text("import os\n")
    assert not names_licence_and_idea(path)


def test_no_two_test_files_share_a_name() -> None:
    """A failing test is found by its file's name alone."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]

    assert len(names) == len(set(names))


def test_imports_keep_to_the_contracts() -> None:
    """Layers and forbidden imports of pyproject.toml hold."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
