# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program inspects sixteen RTSP cameras on two GPUs, on fakes of NVIDIA's libraries."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from tests.fakes.fakecuda.driver import Schedule
from tests.fakes.gpu_libraries.nvml import BUS, FakeNvml
from tests.fakes.gpu_libraries.pynv import FakePyNvVideoCodec, PyNvDecoder
from tests.fakes.machine import CudaMachine, GpuFrames
from tests.integration.cuda.test_sixteen_cameras import NAMES, run_until_enough, streams, upload_pageable

from vision_line.devices.cuda import engine_cache as engine_files
from vision_line.devices.cuda import pipeline
from vision_line.devices.cuda.multi_gpu import decoders_over
from vision_line.devices.multi_device import MultiDevice
from vision_line.frames import Inspection

__all__ = ["streams"]

FRAMES_EACH = 2

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]


class Seen:
    """The frames that were inspected, by camera and GPU; interrupts the program when there are enough."""

    def __init__(self) -> None:
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.gpus: dict[str, set[int]] = defaultdict(set)
        self._complete = False

    def note(self, inspection: Inspection) -> None:
        """Note a frame."""
        frame = inspection.frame
        self.numbers[frame.camera].append(frame.sequence)
        self.gpus[frame.camera].add(frame.data.device)
        if not self._complete and all(len(self.numbers[name]) >= FRAMES_EACH for name in NAMES):
            self._complete = True
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def seen(cuda_machine: CudaMachine, second_gpu: GpuFrames, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Put the fakes in place, and look over the device's shoulder."""
    cuda_machine.driver.schedule(Schedule.RANDOM, 7)
    for module in (engine_files, pipeline):
        monkeypatch.setattr(module, "cache_folder", lambda: cuda_machine.cache)
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", FakePyNvVideoCodec())
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(buses=(BUS, second_gpu.gpu.pci_bus_id)))
    monkeypatch.setattr(PyNvDecoder, "_upload", upload_pageable)
    decoders_over.cache_clear()
    seen = Seen()
    collect = MultiDevice.collect

    def collect_and_note(device: MultiDevice) -> list[Inspection]:
        inspections = collect(device)
        for inspection in inspections:
            seen.note(inspection)
        return inspections

    monkeypatch.setattr(MultiDevice, "collect", collect_and_note)
    return seen


def test_sixteen_cameras_are_spread_over_two_gpus(seen: Seen, streams: Path, tmp_path: Path) -> None:
    """Each GPU decodes and inspects eight of them; the summary holds all cameras, and both GPUs with their load."""
    summary = run_until_enough(streams, "auto", tmp_path)
    decoders_over.cache_clear()

    assert all(len(gpus) == 1 for gpus in seen.gpus.values()), "no camera came back, so none moved"
    assert Counter(gpu for gpus in seen.gpus.values() for gpu in gpus) == {0: 8, 1: 8}
    assert all(numbers == sorted(numbers) for numbers in seen.numbers.values())
    assert summary["device"] == "cuda:0+1"
    assert all(camera["frames_inspected"] >= FRAMES_EACH for camera in summary["cameras"])
    assert [(load["name"], load["sm_percent"]["mean"]) for load in summary["device_loads"]] == [
        ("cuda:0", 32.0),
        ("cuda:1", 32.0),
    ]
