# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every name of TensorRT and cuda.core that the product uses exists in the versions that it is meant for.

The names are found in the source: what hangs on a variable that by its name holds one of the library's objects. The
contract files were made by `tools/dump_api.py` from the libraries' own packages.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.faketensorrt import builder, context, network, runtime
from tools.gpu_check import standin

import vision_line

DEVICES = Path(vision_line.__file__).parent / "devices"
API = Path(__file__).parent / "api"
STAND_IN = Path(standin.__file__).parent / "tensorrt.py"
TENSORRT = ("tensorrt-10.16", "tensorrt-11.4")
RTX = "tensorrt-rtx-1.7"

#: Variables, by file, and the classes of what they hold; "module" is the library itself.
VARIABLES = {
    "tensorrt/build.py": {
        "trt": "module",
        "builder": "Builder",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "config": "IBuilderConfig",
        "profile": "IOptimizationProfile",
        "cache": "ITimingCache",
        "tensor": "ITensor",
    },
    "tensorrt/engine_layers.py": {"trt": "module", "engine": "ICudaEngine", "asked": "EngineInspector"},
    "tensorrt/top_k.py": {
        "trt": "module",
        "network": "INetworkDefinition",
        "network_input": "ITensor",
        "output": "ITensor",
        "reduced": "ITensor",
        "rows": "IConstantLayer",
        "scores": "IGatherLayer",
        "best": "IReduceLayer",
        "kept": "ITopKLayer",
        "columns": "IGatherLayer",
        "number": "ICastLayer",
        "joined": "IConcatenationLayer",
    },
    "cuda/runtime_cache.py": {"config": "IRuntimeConfig", "cache": "IRuntimeCache", "_cache": "IRuntimeCache"},
    "cuda/tensorrt_engine.py": {
        "_trt": "module",
        "_runtime": "Runtime",
        "_engine": "ICudaEngine",
        "engine": "ICudaEngine",
        "mode": "TensorIOMode",
        "config": "IRuntimeConfig",
        "context": "IExecutionContext",
    },
}

#: What calls return that are used without a variable.
RETURNED = {"get_error": "ParserError", "get_input": "ITensor", "get_output": "ITensor", "create_network": None}

#: TensorRT-RTX needs these, and the code asks for them only there.
RTX_ONLY = {
    ("module", "ComputeCapability"),
    ("module", "DynamicShapesKernelSpecializationStrategy"),
    ("DynamicShapesKernelSpecializationStrategy", "EAGER"),
    ("BuilderFlag", "REQUIRE_USER_ALLOCATION"),
    ("IBuilderConfig", "num_compute_capabilities"),
    ("IBuilderConfig", "set_compute_capability"),
    ("IRuntimeConfig", "create_runtime_cache"),
    ("IRuntimeConfig", "set_runtime_cache"),
    ("IRuntimeCache", "deserialize"),
    ("IRuntimeCache", "serialize"),
    ("IRuntimeConfig", "dynamic_shapes_kernel_specialization_strategy"),
    ("IExecutionContext", "is_stream_capturable"),
}

Used = set[tuple[str, str]]


def load(name: str) -> dict[str, dict[str, Any]]:
    """Return a contract file."""
    api: dict[str, dict[str, Any]] = json.loads((API / f"{name}.json").read_text(encoding="utf-8"))
    return api


def used_names(source: Path, variables: dict[str, str]) -> Used:
    """Return (class, member) of everything that hangs on one of `variables` in a file."""

    def kind_of(node: ast.expr) -> str | None:
        match node:
            case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self"), attr=name):
                return variables.get(name)
            case ast.Call(func=ast.Attribute(attr=name)):
                return RETURNED.get(name)
            case ast.Attribute(value=owner, attr=name) if kind_of(owner) == "module":
                return name
        return None

    def names() -> Iterator[tuple[str, str]]:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and (kind := kind_of(node.value)) is not None:
                yield kind, node.attr

    return {(kind, name) for kind, name in names() if not name.startswith("__")}


def tensorrt_names() -> Used:
    """Return what all files use."""
    return {pair for file, variables in VARIABLES.items() for pair in used_names(DEVICES / file, variables)}


def missing_from(api: dict[str, dict[str, Any]], used: Used) -> list[tuple[str, str]]:
    """Return what an API does not have."""

    def has(kind: str, name: str) -> bool:
        if kind == "module":
            return any(name in names for names in (api["classes"], api["enums"], api["functions"]))
        return name in api["classes"].get(kind, ()) or name in api["enums"].get(kind, ())

    return sorted(pair for pair in used if not has(*pair))


def test_the_scan_sees_the_calls() -> None:
    """The files are read: a call of each kind is among what was found, and nothing is excused that is not used."""
    used = tensorrt_names()

    assert {
        ("module", "Runtime"),
        ("Builder", "build_serialized_network"),
        ("INetworkDefinition", "add_topk"),
        ("IExecutionContext", "execute_async_v3"),
        ("TensorIOMode", "INPUT"),
        ("ExecutionContextAllocationStrategy", "USER_MANAGED"),
    } <= used
    assert used >= RTX_ONLY
    assert len(used) > 50


@pytest.mark.parametrize("version", TENSORRT)
def test_tensorrt_has_every_name(version: str) -> None:
    """Both TensorRT 10 and 11 have what is used, but for what is asked of TensorRT-RTX alone."""
    assert missing_from(load(version), tensorrt_names() - RTX_ONLY) == []


def test_tensorrt_rtx_has_every_name() -> None:
    """TensorRT-RTX has all of it, and TensorRT none of what is said to be TensorRT-RTX's."""
    assert missing_from(load(RTX), tensorrt_names()) == []
    for version in TENSORRT:
        assert missing_from(load(version), RTX_ONLY) == sorted(RTX_ONLY)


def test_removed_names_would_be_noticed() -> None:
    """A name that TensorRT 11 removed is found missing there and not in 10."""
    removed = {("BuilderFlag", "INT8"), ("ICudaEngine", "device_memory_size")}

    assert missing_from(load("tensorrt-10.16"), removed) == []
    assert missing_from(load("tensorrt-11.4"), removed) == sorted(removed)


#: Classes of the fake and what they stand for.
FAKES = {
    builder.Builder: "Builder",
    builder.BuilderConfig: "IBuilderConfig",
    network.Network: "INetworkDefinition",
    network.Tensor: "ITensor",
    network.OnnxParser: "OnnxParser",
    builder.Profile: "IOptimizationProfile",
    builder.TimingCache: "ITimingCache",
    runtime.Runtime: "Runtime",
    runtime.RuntimeConfig: "IRuntimeConfig",
    runtime.Engine: "ICudaEngine",
    context.Context: "IExecutionContext",
}


@pytest.mark.parametrize("version", TENSORRT)
@pytest.mark.parametrize("fake", FAKES)
def test_the_fake_has_what_is_used(version: str, fake: type) -> None:
    """What the product calls on the fake is there, so tests on it cannot pass by calling something else."""
    used = {name for kind, name in tensorrt_names() - RTX_ONLY if kind == FAKES[fake]}
    offered = set(dir(fake)) | set(_members(Path(inspect.getfile(fake)), fake.__name__))

    assert used <= offered
    assert missing_from(load(version), {(FAKES[fake], name) for name in used}) == []


#: Classes of the stand-in that computes on a GPU machine without TensorRT, and what they stand for.
STAND_INS = {
    "Builder": "Builder",
    "_Config": "IBuilderConfig",
    "_Network": "INetworkDefinition",
    "_Tensor": "ITensor",
    "OnnxParser": "OnnxParser",
    "_Profile": "IOptimizationProfile",
    "_TimingCache": "ITimingCache",
    "Runtime": "Runtime",
    "_RuntimeConfig": "IRuntimeConfig",
    "_Engine": "ICudaEngine",
    "_Context": "IExecutionContext",
    "_Inspector": "EngineInspector",
}


@pytest.mark.parametrize("name", STAND_INS)
def test_the_stand_in_has_what_is_used(name: str) -> None:
    """Nothing else runs it but a machine with a GPU, whose time is short."""
    used = {member for kind, member in tensorrt_names() - RTX_ONLY if kind == STAND_INS[name]}

    assert used <= set(_members(STAND_IN, name))


def test_the_stand_ins_module_has_what_is_used() -> None:
    """Its classes and enumerations."""
    tree = ast.parse(STAND_IN.read_text(encoding="utf-8"))
    offered = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}

    assert {name for kind, name in tensorrt_names() - RTX_ONLY if kind == "module"} <= offered


def _members(source: Path, name: str) -> Iterator[str]:
    """Yield what a class of a file has: its methods, its attributes, and those that it sets on itself."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    for node in ast.walk(found):
        match node:
            case ast.FunctionDef(name=member) | ast.AnnAssign(target=ast.Name(id=member)):
                yield member
            case ast.Assign(targets=[ast.Name(id=member)]):
                yield member
            case ast.Attribute(value=ast.Name(id="self"), attr=member):
                yield member


#: Files in which a `stream` is CUDA's; of the others, which decode, only the imports are looked at.
INFERRING = {"completion", "context", "device", "kernel", "memory", "pipeline", "slots", "surface", "tensorrt_engine"}

#: Variables of these files, and what cuda.core calls what they hold.
CUDA_VARIABLES = {
    "device": "Device",
    "_device": "Device",
    "stream": "Stream",
    "_stream": "Stream",
    "inference": "Stream",
    "_inference": "Stream",
    "recorder": "Stream",
    "ready": "Event",
    "done": "Event",
    "event": "Event",
    "buffer": "Buffer",
    "workspace": "Buffer",
    "_host_params": "Buffer",
    "_device_params": "Buffer",
    "spare_input": "Buffer",
    "builder": "GraphBuilder",
    "graph": "Graph",
    "program": "Program",
}


def cuda_core_names() -> Used:
    """Return what the device imports of cuda.core, and what it uses of its objects."""
    used: Used = set()
    for path in sorted((DEVICES / "cuda").rglob("*.py")):
        used |= used_names(path, CUDA_VARIABLES if path.stem in INFERRING else {})
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cuda.core"):
                used |= {("module", alias.name) for alias in node.names}
    return used


def test_cuda_core_has_every_name() -> None:
    """Its builds for CUDA 12 and 13 both have what is imported and used."""
    used = cuda_core_names()

    assert {("module", "LegacyPinnedMemoryResource"), ("Stream", "record"), ("Graph", "launch")} <= used
    assert missing_from(load("cuda-core-1.2"), used) == []
