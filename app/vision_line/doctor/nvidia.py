# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks of NVIDIA GPUs: driver, GPU, video engines, and the Python packages that use them."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vision_line.devices.cuda.context import OLDEST_SM
from vision_line.devices.selection import nvidia_gpus
from vision_line.doctor.finding import Finding, Level
from vision_line.errors import DeviceError
from vision_line.packages import fit_cuda

_ON_CPU = "the cpu device is used"
_CAPABILITIES = "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"

# CUdevice_attribute, cuda.h
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76

#: The driver's libraries for video; PyNvVideoCodec needs the encoder's library even to decode.
VIDEO_LIBRARIES = ("libnvcuvid.so.1", "libnvidia-encode.so.1")


@dataclass(frozen=True, slots=True)
class Package:
    """A Python package of the cuda device; any of `distributions` provides it."""

    label: str
    distributions: tuple[str, ...]
    without: str  # what its absence means


PACKAGES = (
    Package("cuda-core", ("cuda-core",), "the cuda device cannot be opened"),
    Package("cuda-bindings", ("cuda-bindings",), "the cuda device cannot be opened"),
    Package(
        "NVRTC",
        ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu13", "nvidia-cuda-nvrtc-cu12"),
        "the preprocessing kernel cannot be compiled",
    ),
    Package(
        "TensorRT",
        ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
        "no engine can be built or run",
    ),
    Package("PyNvVideoCodec", ("pynvvideocodec",), "frames are decoded through FFmpeg on the GPU, or on the CPU"),
    Package("nvidia-ml-py", ("nvidia-ml-py",), "the GPU's memory, load, power and temperature are not shown"),
)


@dataclass(frozen=True, slots=True)
class GpuFound:
    """A GPU that the driver reports."""

    name: str
    sm: int  # compute capability without its dot


@dataclass(frozen=True, slots=True)
class NvidiaFacts:
    """NVIDIA hardware and software on this machine."""

    nodes: tuple[str, ...] = ()  # as `nvidia_gpus` names them, such as /dev/nvidia0
    driver: str = ""  # version of the kernel module, if known
    cuda: int = 0  # CUDA version that the driver supports, as 13000; 0: libcuda is not there
    problem: str = ""  # why the driver reports no GPU
    gpus: tuple[GpuFound, ...] = ()
    missing_video: tuple[str, ...] = ()  # of VIDEO_LIBRARIES
    packages: dict[str, str] = field(default_factory=dict)  # label -> "distribution version" of what is installed
    engines: int | None = None  # NVDEC engines of the first GPU, if PyNvVideoCodec reports it
    engines_problem: str = ""  # why it is not known


def find_gpu() -> Iterator[Finding]:
    """Check for an NVIDIA GPU and all that it needs; a GPU is optional."""
    yield from check_nvidia(read_nvidia_facts())


def read_nvidia_facts() -> NvidiaFacts:
    """Return the facts, from the driver itself; of all queries only the decoder's takes GPU memory."""
    nodes = nvidia_gpus()
    driver = _kernel_driver()
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return NvidiaFacts(nodes=nodes, driver=driver)
    cuda, gpus, problem = ask_driver(library)
    engines, engines_problem = _decoding_engines() if gpus else (None, "")
    return NvidiaFacts(
        nodes=nodes,
        driver=driver,
        cuda=cuda,
        problem=problem,
        gpus=gpus,
        missing_video=tuple(name for name in VIDEO_LIBRARIES if not _loads(name)),
        packages=installed_packages(),
        engines=engines,
        engines_problem=engines_problem,
    )


def ask_driver(cuda: ctypes.CDLL) -> tuple[int, tuple[GpuFound, ...], str]:
    """Return the CUDA version that the driver's library supports, its GPUs, and why there are none."""
    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return version.value, (), f"the driver answers with CUDA error {code}"
    gpus = tuple(_ask_gpu(cuda, index) for index in range(count.value))
    return version.value, gpus, "" if gpus else "the driver reports no GPU"


def _ask_gpu(cuda: ctypes.CDLL, index: int) -> GpuFound:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    return GpuFound(name.value.decode(errors="replace"), major.value * 10 + minor.value)


def installed_packages() -> dict[str, str]:
    """Return which of PACKAGES are installed: label -> distribution and version."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for distribution in package.distributions:
            try:
                version = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                continue
            found[package.label] = f"{distribution} {version}"
            break
    return found


def check_nvidia(facts: NvidiaFacts) -> Iterator[Finding]:
    """Return what the facts mean for inspection and what to do. Pure."""
    if not facts.cuda:
        yield _check_absence(facts)
        return
    if not facts.gpus:
        remedy = "start the container with --gpus all; otherwise check nvidia-smi and the kernel log"
        yield Finding("gpu", Level.WARN, f"{_driver_text(facts)}: {facts.problem}", _ON_CPU, remedy)
        return
    yield Finding("gpu", Level.OK, _driver_text(facts))
    for gpu in facts.gpus:
        yield _check_gpu(gpu)
    yield _check_video(facts)
    yield from _check_packages(facts)


def _check_absence(facts: NvidiaFacts) -> Finding:
    if not facts.nodes and not facts.driver:
        return Finding("gpu", Level.OK, "no NVIDIA GPU", f"{_ON_CPU}; a GPU is optional")
    what = f"{', '.join(facts.nodes) or 'a driver'}, and no libcuda.so.1"
    remedy = "install the driver's libraries; in a container: the NVIDIA container toolkit, and --gpus all"
    return Finding("gpu", Level.WARN, what, f"the GPU cannot be used: {_ON_CPU}", remedy)


def _check_gpu(gpu: GpuFound) -> Finding:
    what = f"{gpu.name}, compute capability {gpu.sm / 10}"
    if gpu.sm < OLDEST_SM:
        return Finding("gpu", Level.WARN, what, f"older than {OLDEST_SM / 10} (Turing): {_ON_CPU}")
    return Finding("gpu", Level.OK, what)


def _check_video(facts: NvidiaFacts) -> Finding:
    if facts.missing_video:
        meaning = "frames are decoded through FFmpeg on the GPU"
        if VIDEO_LIBRARIES[0] in facts.missing_video:
            meaning = "the GPU infers but does not decode: the CPU decodes, and its frames are uploaded"
        remedy = f"in a container: set {_CAPABILITIES}; else install the driver's video libraries"
        return Finding("gpu video", Level.WARN, f"no {', '.join(facts.missing_video)}", meaning, remedy)
    if facts.engines is None:
        return Finding("gpu video", Level.OK, "the driver's video libraries are there", facts.engines_problem)
    plural = "" if facts.engines == 1 else "s"
    return Finding("gpu video", Level.OK, f"{facts.engines} NVDEC engine{plural}")


def _check_packages(facts: NvidiaFacts) -> Iterator[Finding]:
    for package in PACKAGES:
        installed = facts.packages.get(package.label)
        if installed is None:
            yield Finding("gpu library", Level.WARN, f"no {package.label}", package.without, fit_cuda(facts.cuda))
        elif package.label == "cuda-bindings" and _major(installed) > facts.cuda // 1000:
            meaning = f"it needs a driver for CUDA {_major(installed)}: {_ON_CPU}"
            yield Finding("gpu library", Level.WARN, installed, meaning, fit_cuda(facts.cuda))
        else:
            yield Finding("gpu library", Level.OK, installed)


def _driver_text(facts: NvidiaFacts) -> str:
    cuda = f"CUDA {facts.cuda // 1000}.{facts.cuda % 1000 // 10}"
    return f"driver {facts.driver} for {cuda}" if facts.driver else f"a driver for {cuda}"


def _major(installed: str) -> int:
    found = re.search(r" (\d+)", installed)
    return int(found[1]) if found else 0


def _kernel_driver() -> str:
    """Return the version of the driver's kernel module; empty where there is none, as on a Jetson."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", text)
    return found[1] if found else ""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _decoding_engines() -> tuple[int | None, str]:
    """Return the number of NVDEC engines of the first GPU, or None and the reason."""
    from vision_line.devices.cuda.context import open_gpu
    from vision_line.devices.cuda.decoders.decoder_caps import decoder_caps
    from vision_line.devices.cuda.decoders.nvdec import load_pynvvideocodec

    try:
        load_pynvvideocodec()
        open_gpu()
        return decoder_caps("h264", 8).engines, ""
    except DeviceError as exc:
        return None, str(exc)
