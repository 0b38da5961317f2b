# SPDX-License-Identifier: AGPL-3.0-or-later
"""Saturation by the number of batch slots: frames/s of frames that are decoded already, by the size of a batch."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from tools.gpu_check.findings import Findings, is_rehearsal
from tools.gpu_check.subjects import closed_device

from vision_line.devices.cuda.backend import open_cuda
from vision_line.selftest.load_test import percentile, run_full, run_paced

_SLOTS, _BATCHES, _SECONDS = (1, 2, 3, 4), (1, 16, 32), 2.0


def run(findings: Findings) -> None:
    """Open the device with each number of slots."""
    for slots in (2,) if is_rehearsal() else _SLOTS:
        device = closed_device()
        with closing(open_cuda(device.model, [device.shape_hw], device.woken.set, slots=slots)) as opened:
            device = replace(device, opened=opened)
            for batch in (1,) if is_rehearsal() else _BATCHES:
                load = run_full(device, batch, 0.5 if is_rehearsal() else _SECONDS)
                of = f"{slots} slots, batches of {batch}"
                findings.note(
                    of,
                    {
                        "frames_per_s": round(load.inspected_fps, 1),
                        "processor_ms_a_frame": _cpu_ms(load.cpu_s, load.inspected),
                    },
                )
            paced = run_paced(device)
            latency_ms = (
                {f"p{round(share * 100)}": round(percentile(paced.latency_ms, share), 2) for share in (0.5, 0.95, 0.99)}
                if paced.latency_ms
                else {}
            )
            findings.note(
                f"{slots} slots, {device.settings.cameras} cameras",
                {"inspected": paced.inspected, "due": paced.due, "latency_ms": latency_ms},
            )


def _cpu_ms(cpu_s: float, frames: int) -> float:
    return round(cpu_s * 1000 / max(frames, 1), 3)
