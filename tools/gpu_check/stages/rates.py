# SPDX-License-Identifier: AGPL-3.0-or-later
"""Full HD frames a second of the GPU's decoder by the number of cameras, and the processor time of each frame."""

from __future__ import annotations

import time
from functools import partial

from tools.gpu_check.findings import Findings, is_rehearsal
from tools.gpu_check.subjects import closed_device

from vision_line.devices.cuda.decoders.choice import BACKENDS, CudaDecoder, DecoderBackend
from vision_line.selftest.decoder_check import decoding_rate
from vision_line.selftest.device_under_test import DeviceUnderTest
from vision_line.selftest.videos import H264, HEVC, Video

_COUNTS, _SECONDS = (1, 4, 16, 32), 2.0


def run(findings: Findings) -> None:
    """Measure both libraries that use it, in turns."""
    device = closed_device()
    counts = (1, 2) if is_rehearsal() else _COUNTS
    backends = BACKENDS[: 1 if is_rehearsal() else 2]
    for kind in (H264, HEVC):
        video = device.encoded(kind)
        if video is None:
            continue
        for count in counts:
            for backend in backends:
                name = f"{backend.name}, {kind}, {count} side by side"
                found = _measured(device, backend, video, count)
                findings.note(name, found)
                if found is None:
                    findings.fault(f"{name}: not decoded")


def _measured(device: DeviceUnderTest, backend: DecoderBackend, video: Video, count: int) -> dict[str, float] | None:
    if device.gpu is None:
        return None
    opener = partial(CudaDecoder, device.gpu, backends=(backend,))
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    rate = decoding_rate(opener, video, count, 0.5 if is_rehearsal() else _SECONDS)
    taken_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu_s
    if rate is None:
        return None
    return {"frames_per_s": round(rate, 1), "processor_ms_a_frame": round(cpu_s * 1000 / max(rate * taken_s, 1.0), 3)}
