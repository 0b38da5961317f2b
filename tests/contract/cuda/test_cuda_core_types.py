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


@pytest.mark.skipif(importlib.util.find_spec("cuda.core") is None, reason='needs pip install ".[cuda]"')
@pytest.mark.parametrize("build", ["cu12", "cu13"])
def test_the_device_is_typed_as_cuda_core_is(tmp_path: Path, build: str) -> None:
    """Names, arguments and returned values fit the stubs of the builds for CUDA 12 and 13."""
    # not from the import system: an imported cuda.core says that it is the build that it has chosen
    installed = Path(str(distribution("cuda-core").locate_file("cuda/core")))
    stubs = tmp_path / "stubs" / "cuda" / "core"
    shutil.copytree(installed / build, stubs)
    shutil.copy(installed / "__init__.py", stubs)
    (stubs / "py.typed").touch()
    # mypy does not follow an __all__ that is put together; without one, every public name is exported
    memory = stubs / "_memory" / "__init__.py"
    memory.write_text(memory.read_text(encoding="utf-8").partition("\n__all__ = [")[0], encoding="utf-8")
    configuration = tmp_path / "mypy.ini"
    configuration.write_text(CONFIGURATION.format(stubs=tmp_path / "stubs", root=PACKAGE.parent), encoding="utf-8")

    done = subprocess.run(
        [
            sys.executable,
            *("-m", "mypy", "--config-file", configuration, "--cache-dir", tmp_path / "cache"),
            *sorted((PACKAGE / "devices" / "cuda").rglob("*.py")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
