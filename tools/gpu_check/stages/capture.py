# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recording of CUDA graphs, while other threads allocate memory, decode, and use the default stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tools.gpu_check.findings import Findings, is_rehearsal

from vision_line.devices.cuda.context import GpuContext, open_gpu
from vision_line.devices.cuda.decoders.choice import BACKENDS, CudaDecoder
from vision_line.devices.cuda.memory import host_view, pinned
from vision_line.selftest.videos import H264, draw_images, encode_video, opened

_RECORDINGS, _REPLAYS, _NBYTES = 40, 3, 1 << 16


class _Noise:
    """Threads that do what others do while an engine is recorded."""

    def __init__(self, gpu: GpuContext, kinds: dict[str, Callable[[], None]]) -> None:
        self._gpu = gpu
        self._stop = threading.Event()
        self.count = dict.fromkeys(kinds, 0)
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=item) for item in kinds.items()]
        for thread in self._threads:
            thread.start()

    def _run(self, name: str, step: Callable[[], None]) -> None:
        self._gpu.enter()
        while not self._stop.is_set():
            try:
                step()
            except Exception as exc:  # noqa: BLE001  the library's own kinds; all of them spoil the stage
                self.errors.append(f"{name}: {exc}")
                return
            self.count[name] += 1

    def end(self) -> None:
        """Stop them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(20)


def run(findings: Findings) -> None:
    """Record and replay a graph many times, and look at what it copied."""
    gpu = open_gpu(0)
    recorder, inference = gpu.open_stream(), gpu.open_stream()
    first, second = (gpu.device.allocate(_NBYTES, stream=inference) for _ in range(2))
    back = pinned(_NBYTES)
    inference.sync()
    noise = _Noise(gpu, _kinds(gpu))
    time.sleep(0.5)
    wrong = recorded = 0
    began_s = time.monotonic()
    try:
        for number in range(5 if is_rehearsal() else _RECORDINGS):
            builder = recorder.create_graph_builder().begin_building("thread_local")
            first.fill(number + 1, stream=builder)
            first.copy_to(second, stream=builder)
            second.copy_to(back, stream=builder)
            builder.end_building()
            graph = builder.complete()
            builder.close()
            recorded += 1
            for _ in range(_REPLAYS):
                graph.launch(inference)
            inference.sync()
            wrong += bool((host_view(back) != number + 1).any())
            graph.close()
    finally:
        noise.end()
    findings.note("recorded", recorded)
    findings.note("wrong", wrong)
    findings.note("beside", noise.count)
    findings.note("ms", round((time.monotonic() - began_s) * 1000 / max(recorded, 1), 2))
    for error in noise.errors:
        findings.fault(error)
    if wrong:
        findings.fault(f"{wrong} of {recorded} graphs copied something else")


def _kinds(gpu: GpuContext) -> dict[str, Callable[[], None]]:
    if is_rehearsal():
        return {"allocations": _allocate}
    video = encode_video(H264, draw_images((640, 360), 10))
    if video is None:
        return {"allocations": _allocate, "default stream": _use_default_stream}

    def decode() -> None:
        with opened(video) as (stream, packets):
            decoder = CudaDecoder(gpu, "noise", stream, None, BACKENDS[:2])
            try:
                for packet in packets:
                    for _ in decoder.decode(packet):
                        pass
            finally:
                decoder.close()

    return {"allocations": _allocate, "default stream": _use_default_stream, "decoders": decode}


def _allocate() -> None:
    from cuda.bindings import driver

    code, address = driver.cuMemAlloc(1 << 20)
    if code:
        raise RuntimeError(f"cuMemAlloc: {code.name}")
    driver.cuMemFree(address)


def _use_default_stream() -> None:
    from cuda.core import LEGACY_DEFAULT_STREAM

    LEGACY_DEFAULT_STREAM.record().sync()
