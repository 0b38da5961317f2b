# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes the names of NVIDIA's Python APIs into contract files, which tests hold our calls against; needs no GPU.

    python tools/dump_api.py tensorrt-cu13-bindings==11.4.0.106 tests/contract/cuda/api/tensorrt-11.4.json
    python tools/dump_api.py tensorrt-cu13-bindings==10.16.1.11 tests/contract/cuda/api/tensorrt-10.16.json
    python tools/dump_api.py tensorrt-rtx-cu13-bindings==1.7.1.116 tests/contract/cuda/api/tensorrt-rtx-1.7.json
    python tools/dump_api.py cuda-core==1.2.2 tests/contract/cuda/api/cuda-core-1.2.json

TensorRT's bindings want TensorRT's libraries for a few entry points and nothing else to be imported, so empty ones are
put in their place (needs gcc); nothing of them is ever called. cuda-core has stub files, which are read as they are.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Functions that the bindings look up while they are imported.
ENTRY_POINTS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)

#: Library that holds the entry points, and libraries that only have to be there; by the module's name.
LIBRARIES = {
    "tensorrt_bindings": ("libnvinfer.so.{major}", ("libnvonnxparser.so.{major}", "libnvinfer_plugin.so.{major}")),
    "tensorrt_rtx_bindings": (
        "libtensorrt_rtx.so.{major}",
        ("libtensorrt_onnxparser_rtx.so.{major}",),
    ),
}

Api = dict[str, dict[str, Any]]


def main() -> None:
    """Install a package aside and write its names, or, as the child process, import a module and print them."""
    if len(sys.argv) == 3 and sys.argv[1] == "--import":
        json.dump(imported_api(sys.argv[2]), sys.stdout)
        return
    package, target = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "packages"
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place), package]
        subprocess.run(command, check=True)
        api = read_stubs(place / "cuda" / "core") if package.startswith("cuda-core") else read_bindings(place, package)
    target.write_text(json.dumps({"package": package, **api}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{target}: {len(api['enums'])} enums, {len(api['classes'])} classes")


def read_bindings(place: Path, package: str) -> Api:
    """Return what the bindings hold, imported in a process of its own with empty libraries."""
    module = "tensorrt_rtx_bindings" if "rtx" in package else "tensorrt_bindings"
    version = package.partition("==")[2]
    build_empty_libraries(place, module, version)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(place), "PYTHONPATH": str(place)}
    done = subprocess.run(
        [sys.executable, __file__, "--import", module], env=environment, check=True, capture_output=True, text=True
    )
    api: Api = json.loads(done.stdout)
    return api


def build_empty_libraries(folder: Path, module: str, version: str) -> None:
    """Put libraries into `folder` that have nothing in them but the entry points."""
    first, others = LIBRARIES[module]
    major = ".".join(version.split(".")[: 2 if "rtx" in module else 1])
    functions = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in ENTRY_POINTS)
    for template, source in ((first, functions), *((other, "int nothing;") for other in others)):
        for name in {template.format(major=major), template.format(major=major.partition(".")[0])}:
            command = ["gcc", "-x", "c", "-shared", "-fPIC", "-w", "-", f"-Wl,-soname,{name}", "-o", str(folder / name)]
            subprocess.run(command, input=source, text=True, check=True)


def imported_api(name: str) -> Api:
    """Return the public names of a module: enums with their values, classes with their members, functions."""
    module = __import__(name)
    api: Api = {"enums": {}, "classes": {}, "functions": {}}
    for key, value in vars(module).items():
        if key.startswith("_"):
            continue
        if not isinstance(value, type):
            if callable(value):
                api["functions"][key] = []
        elif members := getattr(value, "__members__", None):
            api["enums"][key] = {member: int(number) for member, number in members.items()}
        else:
            api["classes"][key] = [member for member in dir(value) if not member.startswith("_")]
    return api


def read_stubs(folder: Path) -> Api:
    """Return the classes and functions of cuda.core that its builds for CUDA 12 and 13 both have."""
    builds = [stub_api(folder / build) for build in ("cu12", "cu13")]
    api: Api = {"enums": {}, "classes": {}, "functions": {}}
    for kind in ("classes", "functions"):
        for name in builds[0][kind].keys() & builds[1][kind].keys():
            api[kind][name] = sorted(set(builds[0][kind][name]) & set(builds[1][kind][name]))
    return api


def stub_api(folder: Path) -> Api:
    """Return the classes and functions that are defined in a folder's stub files and modules."""
    api: Api = {"classes": {}, "functions": {}}
    for path in sorted([*folder.rglob("*.pyi"), *folder.rglob("*.py")]):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                api["classes"].setdefault(node.name, []).extend(stub_members(node))
            elif isinstance(node, ast.FunctionDef):
                api["functions"][node.name] = []
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                api["functions"][node.target.id] = []
    return api


def stub_members(node: ast.ClassDef) -> list[str]:
    """Return the public members of a class in a stub file."""
    names = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
    names += [
        item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]
    return [name for name in names if not name.startswith("_")]


if __name__ == "__main__":
    main()
