# SPDX-License-Identifier: AGPL-3.0-or-later
"""The runtime's unit and contract tests on every supported Python that this machine has or uv can fetch.

Usage: python tools/matrix.py [VERSION ...]; without versions those of pyproject.toml's classifiers.

Each gets an environment below .venv/matrix. A version without an interpreter is named as not run, and fails nothing:
the last line says which ones ran.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv" / "matrix"
#: Those of compression, and of the peers in a benchmark, need torch, which a runtime never sees; one runs mypy, whose
#: answer is the same on every Python.
LEFT_OUT = (
    "--ignore=tests/unit/compression",
    "--ignore=tests/unit/benchmarks/test_peers.py",
    "--ignore=tests/unit/tools/test_torch_graph.py",
    "--ignore=tests/contract/cuda/test_cuda_core_types.py",
)
TESTS = ("tests/unit", "tests/contract", *LEFT_OUT)


def supported() -> list[str]:
    """Return the versions that pyproject.toml promises."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', text)


def interpreter(version: str) -> str | None:
    """Return a Python of this version: on PATH, of pyenv, or fetched by uv; None: there is none to be had."""
    here = next((python for python in _installed(version) if _is(python, version)), None)
    return here or _fetched(version)


def _installed(version: str) -> list[str]:
    """Return what may be one: pyenv has a file on PATH for each version, which works for the selected one alone."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python{version}")))
    return [*filter(None, [shutil.which(f"python{version}")]), *kept]


def _fetched(version: str) -> str | None:
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "python", "install", "--quiet", version], check=False, stderr=subprocess.DEVNULL)
    find: list[str | Path] = [uv, "python", "find", "--managed-python", version]
    found = subprocess.run(find, text=True, capture_output=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def passes(version: str, python: str) -> bool:
    """Install the runtime with what its tests need, and run them."""
    folder = FOLDER / version
    subprocess.run([python, "-m", "venv", folder], check=True)
    own = folder / "bin" / "python"
    pip: list[str | Path] = [own, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, f"{ROOT}[test]"], check=True)
    command: list[str | Path] = [
        own,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        "2",
        "--dist",
        "loadfile",
        *TESTS,
    ]
    # The tests' own helpers are in the source tree; the package is the installed one.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def main() -> None:
    """Run each version; the exit code is 1 if one failed."""
    passed: list[str] = []
    failed: list[str] = []
    missing: list[str] = []
    for version in sys.argv[1:] or supported():
        python = interpreter(version)
        if python is None:
            missing.append(version)
            continue
        print(f"--- Python {version}: {python}", flush=True)
        (passed if passes(version, python) else failed).append(version)
    groups = {"passed": passed, "failed": failed, "no interpreter, not run": missing}
    print("; ".join(f"{what}: {', '.join(versions)}" for what, versions in groups.items() if versions))
    sys.exit(1 if failed or not passed else 0)


def _is(python: str, version: str) -> bool:
    """Whether `python` runs and is of this version: a shim may be there for one that is not."""
    question = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    answer = subprocess.run(question, text=True, capture_output=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == version


if __name__ == "__main__":
    main()
