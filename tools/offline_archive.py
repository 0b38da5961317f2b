# SPDX-License-Identifier: AGPL-3.0-or-later
"""One archive to install vision-line on a machine without a network: every wheel, an installer, the unit for systemd.

Usage: python tools/offline_archive.py [--extras cuda,parquet] [--output FOLDER] [--check]

The archive is for the Python and the processor that make it. `--check` installs it in a network namespace that has no
network at all, and has the program prove its model there. Where the system refuses such a namespace (containers, Ubuntu
24.04) it installs all the same and says what is not proven; with VISION_LINE_FORBID_SKIPS=1 it fails.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Beside the wheels; the installer itself comes from `installer`.
DOCUMENTS = (
    "LICENSE",
    "CHANGELOG.md",
    "streams.toml",
    "docs/deploy.md",
    "docs/deploy/vision-line.service",
    "docs/deploy/vision-line-desk.service",
)

#: Nothing of the target's pip configuration counts, and a wheel whose hash is another one is refused.
INSTALLER = """#!/bin/sh
# Installs vision-line {version} into the folder that is named, without a network: ./install.sh /opt/vision-line
set -eu
target=${{1:?usage: ./install.sh FOLDER}}
python=${{PYTHON:-python{python}}}
here=$(cd "$(dirname "$0")" && pwd)
found=$("$python" -c 'import platform, sys; print("%d.%d %s" % (*sys.version_info[:2], platform.machine()))')
if [ "$found" != "{python} {machine}" ]; then
    echo "this archive is for Python {python} on {machine}, found $found; PYTHON=... names another one" >&2
    exit 2
fi
"$python" -m venv "$target"
PIP_CONFIG_FILE=/dev/null "$target/bin/python" -m pip --isolated --disable-pip-version-check install --quiet \\
    --no-index --find-links "$here/wheels" --require-hashes --requirement "$here/requirements.txt"
"$target/bin/vision-line" --version
"""


def installer(version: str) -> str:
    """Return the script that installs `version` on a machine like this one."""
    return INSTALLER.format(version=version, python=_python(), machine=platform.machine())


def requirements(wheels: Iterable[Path]) -> str:
    """Return a line for each wheel, with its hash: exactly these are installed, or nothing is."""
    lines = []
    for wheel in sorted(wheels):
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name.replace('_', '-')}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


def fill(folder: Path, extras: str) -> str:
    """Gather into `folder` what the archive holds, and return the version."""
    wanted = f"{ROOT}[{extras}]" if extras else str(ROOT)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    subprocess.run([*pip, "--wheel-dir", folder / "wheels", wanted], check=True)
    wheels = list((folder / "wheels").glob("*.whl"))
    (own,) = (wheel for wheel in wheels if wheel.name.startswith("vision_line-"))
    version = own.name.split("-")[1]
    (folder / "requirements.txt").write_text(requirements(wheels), encoding="utf-8")
    (folder / "install.sh").write_text(installer(version), encoding="utf-8")
    (folder / "install.sh").chmod(0o755)
    for name in DOCUMENTS:
        shutil.copy(ROOT / name, folder)
    return version


def make(output: Path, extras: str) -> Path:
    """Write the archive into the folder `output` and return its path."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "vision-line"
        folder.mkdir()
        version = fill(folder, extras)
        kind = f"-{extras.replace(',', '-')}" if extras else ""
        archive = output / f"vision-line-{version}{kind}-offline-py{_python()}-{platform.machine()}.tar"
        with tarfile.open(archive, "w") as tar:  # wheels are compressed
            tar.add(folder, folder.name)
    return archive


def check(archive: Path) -> str:
    """Install the archive where there is no network, let `doctor` prove the model there, and say what that proves."""
    isolated, refusal = _isolation()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        target = folder / "installed"
        _run([*isolated, "sh", folder / "vision-line" / "install.sh", target], folder)
        _run([*isolated, target / "bin" / "vision-line", "doctor"], folder)
    if not refusal:
        return "installed without a network, and its model proven"
    return (
        f"installed, and its model proven. NOT PROVEN: that neither needs a network, for there is one here ({refusal})"
    )


def _isolation() -> tuple[list[str], str]:
    """Return the command that runs another one without any network, or none and why there is none.

    Exits where nothing may be left out, as in CI.
    """
    isolated = ["unshare", "--user", "--map-root-user", "--net"]
    try:
        done = subprocess.run([*isolated, "true"], text=True, stderr=subprocess.PIPE, check=False)
    except FileNotFoundError:
        refusal = "unshare of util-linux is not installed"
    else:
        refusal = (done.stderr.strip() or f"unshare: exit code {done.returncode}") if done.returncode else ""
    if refusal and os.environ.get("VISION_LINE_FORBID_SKIPS") == "1":
        sys.exit(f"cannot install the archive without a network, and VISION_LINE_FORBID_SKIPS=1: {refusal}")
    return ([], refusal) if refusal else (isolated, "")


def _run(command: list[str | Path], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"exit code {done.returncode}: {' '.join(map(str, command))}\n{done.stdout}")


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def main() -> None:
    """Make the archive, and prove it if that is asked for."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", default="", help=f"of {', '.join(known)}; separated by commas")
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if unknown := set(filter(None, options.extras.split(","))) - set(known):
        parser.error(f"--extras: found {', '.join(sorted(unknown))}, expected some of {', '.join(known)}")
    archive = make(options.output, options.extras)
    print(f"{archive}: {archive.stat().st_size / 1e6:.0f} MB")
    if options.check:
        print(check(archive))


if __name__ == "__main__":
    main()
