# SPDX-License-Identifier: AGPL-3.0-or-later
"""The device's code passes mypy against cuda.core's own stubs, which its wheel hides one folder too deep."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

import vision_line

PACKAGE = Path(vision_line.__file__).parent

CONFIGURATION = """
[mypy]
strict = True
python_version = 3.11
explicit_package_bases = True
plugins = pydantic.mypy
mypy_path = {stubs}:{root}
# Close methods lack annotations in the stubs; other libraries of the device have no stubs at all.
disable_error_code = no-untyped-call,import-untyped,import-not-found
follow_imports = silent
[mypy-cuda.*]
follow_imports = normal
ignore_errors = True
implicit_reexport = True
"""


def sources(build: Path) -> dict[Path, bytes]:
    """Return what a type checker reads of a build, by its path in it."""
    return {
        path.relative_to(build): path.read_bytes() for path in sorted(build.rglob("*.py*")) if path.suffix != ".pyc"
    }


@pytest.mark.skipif(importlib.util.find_spec("cuda.core") is None, reason='needs pip install ".[cuda]"')
def test_the_device_is_typed_as_cuda_core_is(tmp_path: Path) -> None:
    """Names, arguments and returned values fit the stubs for CUDA 12 and 13; equal stubs are checked once."""
    # not from the import system: an imported cuda.core says that it is the build that it has chosen
    installed = Path(str(distribution("cuda-core").locate_file("cuda/core")))
    one, other = installed / "cu12", installed / "cu13"
    assert sources(one)
    for build in (one,) if sources(one) == sources(other) else (one, other):
        check(build, tmp_path / build.name)


def check(build: Path, folder: Path) -> None:
    """Check the device's code against a build of cuda.core, whose stubs are put together in `folder`."""
    stubs = folder / "stubs" / "cuda" / "core"
    shutil.copytree(build, stubs)
    shutil.copy(build.parent / "__init__.py", stubs)
    (stubs / "py.typed").touch()
    # mypy does not follow an __all__ that is put together; without one, every public name is exported
    memory = stubs / "_memory" / "__init__.py"
    memory.write_text(memory.read_text(encoding="utf-8").partition("\n__all__ = [")[0], encoding="utf-8")
    configuration = folder / "mypy.ini"
    configuration.write_text(CONFIGURATION.format(stubs=folder / "stubs", root=PACKAGE.parent), encoding="utf-8")

    done = subprocess.run(
        [
            sys.executable,
            *("-m", "mypy", "--config-file", configuration, "--cache-dir", folder / "cache"),
            *sorted((PACKAGE / "devices" / "cuda").rglob("*.py")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
