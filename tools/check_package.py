# SPDX-License-Identifier: AGPL-3.0-or-later
"""sdist -> wheel -> fresh environment -> `vision-line --help` from another folder: what a user's pip would do.

An editable install finds files that a wheel lacks; this run does not. Usage: python tools/check_package.py
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = (ROOT / "app", ROOT / "compression")
#: What is not a module and must be in the wheel all the same.
DATA = (
    "vision_line/py.typed",
    "vision_line/models/pcb-demo/model.onnx",
    "vision_line/models/pcb-demo/bundle.json",
    "vision_line_compression/py.typed",
    "vision_line_compression/report/page.css",
    "vision_line_compression/report/page.html.jinja",
)


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command and return its output; its failure is ours."""
    return subprocess.run(command, cwd=cwd, check=True, text=True, stdout=subprocess.PIPE).stdout


def build(folder: Path) -> Path:
    """Build the sdist, and the wheel from nothing but the sdist."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", folder, ROOT, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = (path for path in folder.iterdir() if path.is_dir())
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, unpacked, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def main() -> None:
    """Build, compare the wheel's files with the source's, install it and call the command."""
    expected = {path.relative_to(source).as_posix() for source in SOURCES for path in source.rglob("*.py")} | set(DATA)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
        if missing := expected - packed:
            sys.exit(f"the wheel lacks {sorted(missing)}")
        if extra := {name for name in packed if name.endswith(".py")} - expected:
            sys.exit(f"the wheel has {sorted(extra)}, which the source has not")
        venv.create(folder / "venv", with_pip=True)
        bin_ = folder / "venv" / "bin"
        run(bin_ / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=folder)
        if "--streams" not in run(bin_ / "vision-line", "--help", cwd=folder):
            sys.exit("vision-line --help does not mention --streams")
        run(bin_ / "vision-line", "doctor", "--json", cwd=folder)
        freeze = run(bin_ / "python", "-m", "pip", "list", "--format=freeze", cwd=folder).lower()
        if "torch" in freeze or "ultralytics" in freeze:
            sys.exit(f"the runtime core pulled in what only compression needs:\n{freeze}")
        size_mb = sum(path.stat().st_size for path in (folder / "venv").rglob("*") if path.is_file()) / 1e6
        print(f"{wheel.name}: {len(packed)} files; the installed core takes {size_mb:.0f} MB")
        if size_mb >= 750:
            sys.exit("the runtime core must stay under 750 MB")


if __name__ == "__main__":
    main()
