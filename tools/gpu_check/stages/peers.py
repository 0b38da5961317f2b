# SPDX-License-Identifier: AGPL-3.0-or-later
"""The program beside a plain loop on the same network, and beside Ultralytics' where that is installed; and the limit.

Each gets fresh cameras, one after the other, in one run. The limit is what kernel and engine alone allow.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tools.gpu_check.findings import Findings, is_rehearsal
from tools.gpu_check.plain_loop import Order
from tools.gpu_check.stages.cameras import inspect, served
from tools.gpu_check.subjects import FULL_HD, closed_device

from vision_line.devices.cuda.context import open_gpu
from vision_line.devices.cuda.engine_cache import choose_library, find_engine, target_of
from vision_line.devices.cuda.timing import time_engine
from vision_line.devices.model.model import open_model
from vision_line.devices.preprocessing.shapes import plan_input_shapes
from vision_line.devices.tensorrt.build import open_library
from vision_line.selftest.rate_check import measure_kernel

#: A bundle for all, the shipped one without; and a checkpoint of the same network for Ultralytics.
MODEL, CHECKPOINT = "GPU_CHECK_MODEL", "GPU_CHECK_CHECKPOINT"
_CAMERAS, _WARM_UP_S, _SECONDS, _BATCH = 16, 5.0, 15.0, 16


def run(findings: Findings) -> None:
    """Let each inspect the same cameras."""
    named = os.environ.get(MODEL)
    model = None if named is None else Path(named)
    rehearsed = is_rehearsal()
    count, size_wh = (2, (320, 192)) if rehearsed else (_CAMERAS, FULL_HD)
    seconds = 2.0 if rehearsed else _SECONDS
    (shape_hw,) = plan_input_shapes(open_model(model), [size_wh])
    with tempfile.TemporaryDirectory() as name, served(Path(name), count, size_wh, model) as site:
        inspect(findings, site, _WARM_UP_S + seconds)
    device = "cpu" if rehearsed else "cuda"
    with tempfile.TemporaryDirectory() as name, served(Path(name), count, size_wh) as site:
        order = Order(site.urls, named, shape_hw, 1.0 if rehearsed else _WARM_UP_S, seconds, device)
        _peer(findings, "a plain loop", ["tools.gpu_check.plain_loop", order.to_json()])
    checkpoint = os.environ.get(CHECKPOINT)
    if checkpoint is None or find_spec("ultralytics") is None:
        findings.note("Ultralytics", f"not measured: it needs the package, and {CHECKPOINT}")
    else:
        with tempfile.TemporaryDirectory() as name, served(Path(name), count, size_wh) as site:
            urls = Path(name) / "cameras.streams"
            urls.write_text("\n".join(site.urls), encoding="utf-8")
            words = ["tools.gpu_check.ultralytics_loop", checkpoint, str(urls), str(1.5 * seconds)]
            _peer(findings, "Ultralytics", words)
    findings.note("limit", _limit(model, shape_hw))


def _peer(findings: Findings, name: str, words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        findings.fault(f"{name}: exit code {done.returncode}: {done.stderr[-800:]}")
    else:
        findings.note(name, json.loads(done.stdout.splitlines()[-1]))


def _limit(model: Path | None, shape_hw: tuple[int, int]) -> dict[str, Any]:
    """Return the milliseconds that kernel and engine take for a batch, and the frames/s that they allow."""
    gpu = open_gpu(0)
    device = closed_device(shape_hw)
    opened = open_model(model)
    batch = 2 if is_rehearsal() else _BATCH
    device = replace(device, model=opened, settings=replace(device.settings, buckets=(batch,)))
    (kernel,) = measure_kernel(device).figures
    library = choose_library()
    plan = find_engine(opened, shape_hw, target_of(gpu, library))
    engine_ms = time_engine(gpu, open_library(library), plan, shape_hw, buckets=(batch,), repeats=10)[batch]
    ms = {"kernel_ms": round(kernel.value, 3), "engine_ms": round(engine_ms, 3)}
    return {"batch": batch, **ms, "frames_per_s": round(1000 * batch / (kernel.value + engine_ms), 1)}
