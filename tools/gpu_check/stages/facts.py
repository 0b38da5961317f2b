# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is there: GPU, driver, libraries, packages, and what the GPU's decoder takes."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tools.gpu_check.findings import Findings

from vision_line.devices.cuda.context import open_gpu
from vision_line.devices.cuda.decoders.decoder_caps import decoder_caps
from vision_line.devices.cuda.decoders.nvdec import load_pynvvideocodec
from vision_line.devices.cuda.monitor import open_monitor
from vision_line.errors import VisionLineError

_QUERY = "name,driver_version,memory.total,clocks.max.video,clocks.max.sm,power.limit,compute_mode,persistence_mode"
_LIBRARIES = ("libcuda.so.1", "libnvcuvid.so.1", "libnvidia-encode.so.1", "libnvidia-ml.so.1")
_PACKAGES = (
    "av", "cuda-core", "cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-ml-py", "numpy", "onnx", "opencv-python-headless",
    "openvino", "pynvvideocodec", "tensorrt", "tensorrt-rtx-cu13", "torch", "ultralytics",
)  # fmt: skip
_CODECS = (("h264", 8), ("hevc", 8), ("hevc", 10), ("av1", 8), ("av1", 10))


def run(findings: Findings) -> None:
    """Ask everything that costs nothing."""
    findings.note("python", sys.version)
    findings.note("system", f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}")
    findings.note("cores", len(os.sched_getaffinity(0)))
    findings.note("processor", _processor())
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv"]
        findings.note("nvidia_smi", subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    findings.note("libraries", {name: _loads(name) for name in _LIBRARIES})
    findings.note("packages", {name: _version(name) for name in _PACKAGES})
    gpu = open_gpu(0)
    findings.note("gpu", str(gpu))
    if open_gpu(0) != gpu:  # its primary context is active now, and its flags are set once more
        findings.fault("the GPU cannot be opened twice")
    monitor = open_monitor(gpu)
    findings.note("load", [str(sample) for sample in monitor.sample()] or monitor.reason)
    monitor.close()
    findings.note("nvdec", _decoders(findings))


def _decoders(findings: Findings) -> dict[str, object]:
    try:
        load_pynvvideocodec()
    except VisionLineError as exc:
        findings.fault(str(exc))
    found: dict[str, object] = {}
    for codec, bits in _CODECS:
        began_s = time.perf_counter()
        try:
            answer: object = asdict(decoder_caps(codec, bits))
        except VisionLineError as exc:
            answer = str(exc)
        found[f"{codec} {bits} bit"] = {"answer": answer, "ms": round((time.perf_counter() - began_s) * 1000, 1)}
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _loads(name: str) -> str:
    try:
        ctypes.CDLL(name)
    except OSError as exc:
        return str(exc)
    return "loads"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
