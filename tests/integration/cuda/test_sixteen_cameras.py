# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program inspects the simulator's sixteen RTSP cameras with the NVIDIA device, on fakes of NVIDIA's libraries.

Everything of ours is real: RTSP, decoding as far as PyNvVideoCodec's door, surfaces, kernel, slots, graphs, inspection
and records. What the device found in a frame is compared with what the CPU device finds in the same frame.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.fakes.fakecuda.driver import Schedule
from tests.fakes.gpu_libraries.pynv import FakePyNvVideoCodec, PyNvDecoder
from tests.fakes.machine import CudaMachine

from vision_line.cli.run import run
from vision_line.devices.cpu.backend import CpuBackend
from vision_line.devices.cuda import backend, pipeline
from vision_line.devices.cuda import engine_cache as engine_files
from vision_line.devices.cuda.backend import open_cuda
from vision_line.devices.device import InferenceDevice
from vision_line.devices.model.model import SHIPPED_BUNDLE, Model, open_model
from vision_line.devices.preprocessing.definition import Planes, letterbox_planes, normalise
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.proof.processor import this_processor
from vision_line.devices.result_reader import HeadReader
from vision_line.errors import ExitCode
from vision_line.frames import Colour, Detections, Frame, Inspection
from vision_line.runtime.camera_manager import CONTINUE_RATIO
from vision_line.runtime.options import RunOptions
from vision_line.simulator.clips import ensure_clips
from vision_line.simulator.live import Simulator

CAMERAS = 16
CLIP_FPS = 5
SHAPE = (192, 320)
NAMES = [f"cam{number:02d}" for number in range(1, CAMERAS + 1)]
LONGEST_S = 120.0  # the run ends when enough was seen
FRAMES_EACH = OF_A_KIND = 3  # frames of a camera that are compared; at most so many with, or without, detections
DETECTIONS = 24  # in all
MOST_PIXELS, MOST_SCORE = 1.0, 0.02
CERTAIN, FAST_SCORE = 0.8, 0.3  # the CPU device's own preprocessing: a score was seen to move by 0.22
DEADLINE_S = 30.0

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]


class Samples:
    """Copies of inspected frames, with what was found in them; interrupts the program when there are enough."""

    def __init__(self) -> None:
        self.taken: list[tuple[Frame, Detections]] = []
        self._kinds: Counter[tuple[str, bool]] = Counter()
        self._complete = False

    def take(self, inspection: Inspection) -> None:
        """Keep a frame of a camera that has few of its kind, copied to the host while it is still held."""
        frame, found = inspection.frame, inspection.detections
        kind = (frame.camera, bool(len(found)))
        if self._complete or self._kinds[kind] == OF_A_KIND:
            return
        self._kinds[kind] += 1
        self.taken.append((replace(frame, data=frame.data.to_host()), found))
        if self._is_enough():
            self._complete = True
            os.kill(os.getpid(), signal.SIGINT)

    def _is_enough(self) -> bool:
        each = Counter(frame.camera for frame, _ in self.taken)
        enough_each = all(each[name] >= FRAMES_EACH for name in NAMES)
        return enough_each and sum(len(found) for _, found in self.taken) >= DETECTIONS


def upload_pageable(decoder: PyNvDecoder, packed: NDArray[Any], buffer: Any) -> None:
    """Copy from pageable memory, which the driver takes a copy of at once: a long run must not keep every frame."""
    from cuda.core import Buffer

    Buffer.from_handle(packed.ctypes.data, packed.nbytes).copy_to(buffer, stream=decoder._stream)


@pytest.fixture
def samples(cuda_machine: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> Samples:
    """Put the fakes in place, and look over the device's shoulder."""
    cuda_machine.driver.schedule(Schedule.RANDOM, 16)
    for module in (engine_files, pipeline):
        monkeypatch.setattr(module, "cache_folder", lambda: cuda_machine.cache)
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", FakePyNvVideoCodec())
    monkeypatch.setattr(PyNvDecoder, "_upload", upload_pageable)
    taken = Samples()

    def opened(*arguments: Any, **options: Any) -> InferenceDevice:
        device = open_cuda(*arguments, **options)
        collect = device.collect

        def collect_and_sample() -> list[Inspection]:
            inspections = collect()
            for inspection in inspections:
                taken.take(inspection)
            return inspections

        monkeypatch.setattr(device, "collect", collect_and_sample)
        return device

    monkeypatch.setattr(backend, "open_cuda", opened)
    return taken


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[Path]:
    """Serve the simulator's clips, slower than they were drawn, and give the configuration that names them.

    Fakes in Python do not keep up with 400 frames a second.
    """
    clips = [replace(clip, fps=CLIP_FPS) for clip in ensure_clips(CAMERAS, seed=1)]
    with Simulator(clips, port=0) as simulator:
        text = "config_version = 1\n"
        for name in NAMES:
            text += f'[[stream]]\nname = "{name}"\nurl = "{simulator.urls[name]}"\n'
        path = tmp_path / "streams.toml"
        path.write_text(text, encoding="utf-8")
        yield path


def own_file_alone(folder: Path) -> Path:
    """Return the shipped bundle without its variants for GPUs: a GPU executes the very file that the CPU does."""
    bundle = shutil.copytree(SHIPPED_BUNDLE, folder / "own")
    description = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    del description["model"]["gpu_variants"]
    (bundle / "bundle.json").write_text(json.dumps(description), encoding="utf-8")
    return bundle


def run_until_enough(streams: Path, device: str, folder: Path) -> dict[str, Any]:
    """Run the program in this process until it is interrupted, and return its summary."""
    path, records = folder / "summary.json", folder / "records"
    options = RunOptions(
        streams=streams,
        device=device,
        duration_s=LONGEST_S,
        headless=True,
        summary=path,
        record=records,
        model=own_file_alone(folder),
    )
    assert run(options) == ExitCode.INTERRUPTED, "not enough was seen"
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return summary


def test_the_program_inspects_sixteen_cameras(samples: Samples, streams: Path, tmp_path: Path) -> None:
    """Every camera is decoded, inspected and recorded, and each sampled frame has the CPU device's detections."""
    summary = run_until_enough(streams, "cuda", tmp_path)

    assert summary["device"].startswith("cuda:0")
    assert [camera["name"] for camera in summary["cameras"]] == NAMES
    assert all(camera["frames_inspected"] >= FRAMES_EACH for camera in summary["cameras"])
    _compare(samples, open_model(tmp_path / "own"))


class Definition:
    """Stands in for the CPU device's converter: the preprocessing definition itself, which the kernel follows."""

    def convert(self, data: Planes, colour: Colour, out: NDArray[np.float32]) -> Letterbox:
        """Write the frame into a network input (h, w, 3) and return its geometry."""
        box = Letterbox(data.size_wh, (out.shape[0], out.shape[1]))
        out[:] = normalise(letterbox_planes(data, colour, box.dst_hw))[0].transpose(1, 2, 0)
        return box


def _compare(samples: Samples, model: Model) -> None:
    """Inspect the sampled frames with the CPU device and hold the results against each other.

    With the definition's preprocessing they are alike to the last detection. The CPU device's own is up to two levels
    off, which moves the scores of a quantized network: what is certain is seen by both. Where the processor does not
    compute this file's INT8 rightly, both execute it in float.
    """
    woken = threading.Event()
    cpu = CpuBackend(model, woken.set, slots=1, exact=not this_processor().has_dot_products)
    device = InferenceDevice(cpu, HeadReader(model, model.score_threshold * CONTINUE_RATIO), [SHAPE])
    fast = cpu._converter
    try:
        for converter, most_score, certain in ((Definition(), MOST_SCORE, 0.0), (fast, FAST_SCORE, CERTAIN)):
            cpu._converter = converter  # type: ignore[assignment]
            for frame, found in samples.taken:
                wanted = _inspect(device, woken, frame)
                assert _without_like(found, wanted, most_score, certain) == [], frame.camera
                assert _without_like(wanted, found, most_score, certain) == [], frame.camera
    finally:
        device.close()


def _inspect(device: InferenceDevice, woken: threading.Event, frame: Frame) -> Detections:
    woken.clear()
    device.submit([frame])
    assert woken.wait(DEADLINE_S)
    (inspection,) = device.collect()
    return inspection.detections


def _without_like(some: Detections, others: Detections, most_score: float, certain: float) -> list[str]:
    """Return the detections from a score on that the other side does not have."""
    missing = []
    for box, score, class_id in zip(some.xyxy, some.score, some.class_id, strict=True):
        near = np.abs(others.xyxy - box).max(axis=1, initial=0.0) <= MOST_PIXELS
        like = near & (others.class_id == class_id) & (np.abs(others.score - score) <= most_score)
        if score >= certain and not like.any():
            missing.append(f"{class_id} {box} {score}, among {others}")
    return missing
