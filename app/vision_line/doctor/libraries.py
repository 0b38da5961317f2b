# SPDX-License-Identifier: AGPL-3.0-or-later
"""Checks of the libraries, each of which may be missing, and of the shipped model's proof on this processor."""

from __future__ import annotations

import importlib
import importlib.metadata
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from vision_line.doctor.finding import Finding, Level
from vision_line.errors import DeviceError, ModelError
from vision_line.packages import install_extra

_DECODERS = {"h264": "H.264", "hevc": "H.265", "mjpeg": "MJPEG"}
_INSTALL = "pip install --force-reinstall {}"


def find_video() -> Iterator[Finding]:
    """Check PyAV, its FFmpeg, and the decoders."""
    av, problem = _import("av")
    if av is None:
        yield Finding("video", Level.FAIL, f"PyAV: {problem}", "no camera can be read", _INSTALL.format("av"))
        return
    ffmpeg = getattr(av, "ffmpeg_version_info", "of an unknown version")
    yield Finding("video", Level.OK, f"PyAV {av.__version__}, FFmpeg {ffmpeg}")
    available = av.codecs_available
    missing = [label for name, label in _DECODERS.items() if name not in available]
    if missing:
        meaning = "cameras with these codecs cannot be inspected"
        yield Finding("video", Level.WARN, f"no decoder for {', '.join(missing)}", meaning, _INSTALL.format("av"))
    else:
        yield Finding("video", Level.OK, f"decoders: {', '.join(_DECODERS.values())}")


def find_engine() -> Iterator[Finding]:
    """Check OpenVINO and its devices."""
    openvino, problem = _import("openvino")
    if openvino is None:
        remedy = _INSTALL.format("openvino")
        yield Finding("engine", Level.FAIL, f"OpenVINO: {problem}", "the cpu device cannot inspect", remedy)
        return
    try:
        core = openvino.Core()
        devices = {device: core.get_property(device, "FULL_DEVICE_NAME") for device in core.available_devices}
    except RuntimeError as exc:  # what OpenVINO's bindings raise for a plugin that does not load
        yield Finding("engine", Level.FAIL, f"OpenVINO {openvino.__version__}: {_first_line(exc)}")
        return
    names = "; ".join(f"{device}: {name}" for device, name in devices.items()) or "no device"
    level = Level.OK if "CPU" in devices else Level.FAIL
    yield Finding("engine", level, f"OpenVINO {openvino.__version__.split('-')[0]}, {names}")


def find_opencv() -> Iterator[Finding]:
    """Check that OpenCV imports on this machine, and which build it is."""
    cv2, problem = _import("cv2")
    if cv2 is None:
        remedy = "pip uninstall opencv-python; pip install opencv-python-headless"
        if "libGL" in problem:
            meaning = "this build needs desktop libraries; the headless one does not"
            yield Finding("images", Level.FAIL, f"OpenCV: {problem}", meaning, remedy)
        else:
            yield Finding("images", Level.FAIL, f"OpenCV: {problem}", "", _INSTALL.format("opencv-python-headless"))
        return
    builds = [name for name in ("opencv-python", "opencv-contrib-python") if _installed(name)]
    if builds and _installed("opencv-python-headless"):
        meaning = "two builds share one folder: the one installed last is used"
        remedy = f"pip uninstall {' '.join(builds)}; {_INSTALL.format('opencv-python-headless')}"
        yield Finding("images", Level.WARN, f"OpenCV {cv2.__version__}, two builds", meaning, remedy)
    else:
        build = "desktop build" if builds else "headless build"
        yield Finding("images", Level.OK, f"OpenCV {cv2.__version__}, {build}")


def find_records() -> Iterator[Finding]:
    """Check SQLite and the optional Parquet writer."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < (3, 35):
        yield Finding("records", Level.FAIL, f"SQLite {version}", "3.35 or newer is needed", "use a newer Python build")
    else:
        yield Finding("records", Level.OK, f"SQLite {version}")
    if _installed("pyarrow"):
        yield Finding("records", Level.OK, f"Parquet export: pyarrow {importlib.metadata.version('pyarrow')}")
    else:
        meaning, remedy = "export --format parquet is not available", install_extra("parquet")
        yield Finding("records", Level.OK, "no pyarrow", meaning, remedy)


def _import(name: str) -> tuple[ModuleType | None, str]:
    """Return a module, or None and the reason; a missing shared library is a reason too."""
    try:
        return importlib.import_module(name), ""
    except ModuleNotFoundError:
        return None, "not installed"
    except (ImportError, OSError, RuntimeError) as exc:
        return None, _first_line(exc)


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _first_line(exc: Exception) -> str:
    return str(exc).strip().split("\n")[0] or type(exc).__name__


def find_proof(path: Path | None = None, named_by: str = "") -> Iterator[Finding]:
    """Compile the bundle or file at `path`, None: the shipped one, for the CPU, and run its proof; about a second.

    `named_by` says whose model it is, "": nobody asked.
    """
    from vision_line.devices.model.model import open_model
    from vision_line.devices.preprocessing.shapes import plan_input_shapes
    from vision_line.devices.selection import open_device

    try:
        model = open_model(path)
        device = open_device("cpu", model, plan_input_shapes(model, []), lambda: None)
    except (DeviceError, ModelError) as exc:
        remedy = "use another model, precision or machine; vision-line-compress prove says more"
        what = f"of {named_by}: {exc}" if named_by else str(exc)
        yield Finding("proof", Level.FAIL, what, "the cpu device would not match the model", remedy)
        return
    device.close()
    used = device.description
    what = f"{model.name}{f' of {named_by}' if named_by else ''} runs as {used.variant}"
    if model.precision == "int8" and used.precision != "int8":
        meaning = f"correct, but slower than INT8: {used.variant_reason}"
        remedy = "give the bundle the unsigned variant: vision-line-compress prove"
        yield Finding("proof", Level.WARN, what, meaning, remedy)
    else:
        yield Finding("proof", Level.OK, what, used.variant_reason)
