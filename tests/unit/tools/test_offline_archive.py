# SPDX-License-Identifier: AGPL-3.0-or-later
"""The archive for machines without a network: its wheels and its installer. `make package-check` installs it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tools.offline_archive import installer, requirements


def run_installer(folder: Path, target: str, python: str) -> subprocess.CompletedProcess[str]:
    script = folder / "install.sh"
    script.write_text(installer("1.2.3"), encoding="utf-8")
    environment = os.environ | {"PYTHON": python}
    return subprocess.run(["sh", script, target], env=environment, text=True, capture_output=True, check=False)


def test_each_wheel_is_named_with_its_hash(tmp_path: Path) -> None:
    """So pip installs these files and no others."""
    for name in ("numpy-2.0.1-cp311-cp311-manylinux_2_28_x86_64.whl", "vision_line-0.1.0-py3-none-any.whl"):
        (tmp_path / name).write_bytes(name.encode())
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(tmp_path.glob("*.whl"))]

    assert requirements(tmp_path.glob("*.whl")).splitlines() == [
        f"numpy==2.0.1 --hash=sha256:{digests[0]}",
        f"vision-line==0.1.0 --hash=sha256:{digests[1]}",
    ]


def test_the_installer_refuses_another_python(tmp_path: Path) -> None:
    """Before it has made anything: the wheels would not fit."""
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho 3.9 riscv64\n", encoding="utf-8")
    other.chmod(0o755)
    done = run_installer(tmp_path, str(tmp_path / "target"), str(other))

    assert done.returncode == 2
    assert done.stderr.startswith(f"this archive is for Python {sys.version_info.major}.{sys.version_info.minor} on ")
    assert "found 3.9 riscv64" in done.stderr
    assert not (tmp_path / "target").exists()


def test_a_wheel_that_was_changed_is_not_installed(tmp_path: Path) -> None:
    """The hash in the list is not the file's."""
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / "vision_line-1.2.3-py3-none-any.whl"
    wheel.write_bytes(b"as it was")
    (tmp_path / "requirements.txt").write_text(requirements([wheel]), encoding="utf-8")
    wheel.write_bytes(b"as it is")
    done = run_installer(tmp_path, str(tmp_path / "target"), sys.executable)

    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
