# SPDX-License-Identifier: AGPL-3.0-or-later
"""Packs what a GPU machine without a network lacks, as archives: `python -m tools.gpu_check.pack FOLDER`.

They hold unpacked wheels for another Python than this one, in the versions that are installed here, and of each wheel
only what the check needs. There, all that is needed is
`tar -xf` of each into one folder, and that folder in PYTHONPATH. numpy, torch, onnx, rich and typer have to be there.
"""

from __future__ import annotations

import argparse
import lzma
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Archives by name: two, so that each can be carried by itself.
ARCHIVES = {
    "openvino": ("openvino", "openvino-telemetry"),
    "others": (
        "av", "pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions",
        "prometheus-client", "cuda-core", "cuda-bindings", "cuda-pathfinder", "nvidia-ml-py", "pynvvideocodec",
        "pytest-asyncio",
    ),
}  # fmt: skip
_NOT_HERE = {"pynvvideocodec": "2.2.4"}  # it can be installed only where NVIDIA's driver is

#: What is left out, as patterns below the archive's root.
_UNNEEDED = (
    "**/*.pxd", "**/*.pyx", "**/*.pyi", "**/*.hpp", "samples", "benchmarks", "*.data/data/external",
    "cuda/core/cu12", "PyNvVideoCodec/PyNvVideoCodec_121*", "PyNvVideoCodec/libav*.so", "PyNvVideoCodec/libav*.so.*.*",
    "openvino/include", "openvino/cmake", "openvino/libs/*gpu_plugin*", "openvino/libs/*npu_plugin*",
    "openvino/libs/*auto_*", "openvino/libs/*hetero*", "openvino/libs/*_c.so*", "openvino/libs/cache.json",
    "openvino/libs/*jax*", "openvino/libs/*gguf*", "openvino/libs/*paddle*", "openvino/libs/*pytorch*",
    "openvino/libs/*tensorflow*",
)  # fmt: skip
_GLIBC = (5, 12, 17, 24, 27, 28, 31, 34, 35)


def main() -> None:
    """Make the archives."""
    parser = argparse.ArgumentParser(prog="python -m tools.gpu_check.pack")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="of the GPU machine; 3.12")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    for name, packages in ARCHIVES.items():
        archive = pack(wanted.folder / f"{name}.tar.xz", packages, wanted.python)
        print(f"{archive}: {archive.stat().st_size / 2**20:.1f} MiB")


def pack(archive: Path, packages: Sequence[str], python: str) -> Path:
    """Write the wheels of `packages` for `python`, unpacked, into `archive` and return it."""
    with tempfile.TemporaryDirectory() as name:
        wheels, site = Path(name) / "wheels", Path(name) / "site"
        _fetch([f"{package}=={_version(package)}" for package in packages], python, wheels)
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as content:
                content.extractall(site)  # noqa: S202  pip checked its hash
        for path in [path for pattern in _UNNEEDED for path in site.glob(pattern)]:
            if path.is_file():
                path.unlink()
            elif path.is_dir():
                subprocess.run(["rm", "-r", path], check=True)
        with lzma.open(archive, "wb", preset=6) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(site, ".")
    return archive


def _fetch(requirements: Sequence[str], python: str, folder: Path) -> None:
    tag = f"cp{python.replace('.', '')}"
    platforms = ["manylinux1_x86_64", "manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in _GLIBC)]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        str(folder),
    ]
    command += ["--python-version", python, "--implementation", "cp", "--abi", tag, "--abi", "abi3", "--abi", "none"]
    for platform in platforms:
        command += ["--platform", platform]
    subprocess.run([*command, *requirements], check=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return _NOT_HERE[package]


if __name__ == "__main__":
    main()
