# SPDX-License-Identifier: AGPL-3.0-or-later
"""The archive for machines without a network: its wheels and its installer. `make package-check` installs it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tools.offline_archive import check, installer, requirements

#: Installs a program that only says that it ran.
SMALL_INSTALLER = """#!/bin/sh
mkdir -p "$1/bin"
printf '#!/bin/sh\\necho "$@" >>{log}\\n' >"$1/bin/vision-line"
chmod +x "$1/bin/vision-line"
echo installed >>{log}
"""


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


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return an archive whose installer and program write what they do into `log`."""
    script = tmp_path / "install.sh"
    script.write_text(SMALL_INSTALLER.format(log=tmp_path / "log"), encoding="utf-8")
    path = tmp_path / "archive.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(script, "vision-line/install.sh")
    return path


def use_unshare(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program before the system's unshare."""
    (folder / "bin").mkdir()
    unshare = folder / "bin" / "unshare"
    unshare.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    unshare.chmod(0o755)
    monkeypatch.setenv("PATH", f"{unshare.parent}:{os.environ['PATH']}")


def test_installation_and_proof_run_without_a_network(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is started in a namespace of its own."""
    log = tmp_path / "log"
    use_unshare(f'echo "$1 $2 $3" >>{log}; shift 3; exec "$@"', tmp_path, monkeypatch)
    said = check(archive)

    isolated = "--user --map-root-user --net"
    assert said == "installed without a network, and its model proven"
    assert log.read_text().splitlines() == [isolated, isolated, "installed", isolated, "doctor"]


def test_where_the_system_refuses_it_says_what_is_not_proven(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is run all the same."""
    monkeypatch.delenv("VISION_LINE_FORBID_SKIPS", raising=False)
    use_unshare("echo 'unshare: Operation not permitted' >&2; exit 1", tmp_path, monkeypatch)
    said = check(archive)

    assert "NOT PROVEN" in said
    assert "unshare: Operation not permitted" in said
    assert (tmp_path / "log").read_text().splitlines() == ["installed", "doctor"]


def test_where_nothing_may_be_left_out_the_refusal_is_a_failure(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in CI."""
    monkeypatch.setenv("VISION_LINE_FORBID_SKIPS", "1")
    use_unshare("exit 1", tmp_path, monkeypatch)
    with pytest.raises(SystemExit, match="cannot install the archive without a network"):
        check(archive)
