# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a run keeps in memory: one network for each input shape, few heaps, and no second look at what stays anyway."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import openvino as ov
import pytest
from tests.fakes.proven_bundle import write_proven_bundle
from tests.fakes.tiny_model import build_tiny_model

from vision_line.devices.cpu.backend import open_cpu
from vision_line.devices.model.model import open_model
from vision_line.errors import DeviceError
from vision_line.footprint import HEAPS, start_left_uncollected

SIGNED, UNSIGNED = "qdq-s8-symmetric", "qdq-u8-7bit"
WIDE, TALL = (64, 128), (128, 64)
SLOTS = 3
VARIANTS = {name: build_tiny_model(quantized=True, quantization=name) for name in (SIGNED, UNSIGNED)}

INSPECT_A_FILE = """
import asyncio, ctypes, gc, sys
from pathlib import Path
from vision_line.cli import run as command
from vision_line.runtime.options import RunOptions
frozen = []
async def look(get_snapshot, _):
    while True:
        frozen.append(gc.get_freeze_count())
        await asyncio.sleep(0.02)
command.run_status_lines = look
command.run(RunOptions(Path("streams.toml"), device="cpu", headless=True))
assert frozen[0] == 0, "at the start nothing is left out"
assert max(frozen) > 10_000, "while it inspects"
assert gc.get_freeze_count() == 0, "after it all is looked at"
ctypes.CDLL(None).malloc_stats()  # writes to stderr
"""


@pytest.fixture
def without_the_others() -> Iterator[None]:
    """Leave out what is there already: counting all that other tests have imported takes seconds each time."""
    with start_left_uncollected():
        yield


@pytest.mark.usefixtures("without_the_others")
@pytest.mark.parametrize("failing", [{(SIGNED, WIDE), (SIGNED, TALL)}, {(UNSIGNED, WIDE), (UNSIGNED, TALL)}])
def test_of_the_networks_that_were_tried_one_a_shape_stays(
    tmp_path: Path, failing: set[tuple[str, tuple[int, int]]]
) -> None:
    """What failed its proof is gone, and of the proof no request is left."""
    model = open_model(write_proven_bundle(tmp_path / "bundle", VARIANTS, (WIDE, TALL), false=failing))
    before = _counted()

    with closing(open_cpu(model, (WIDE, TALL), lambda: None, slots=SLOTS)):
        opened = _counted() - before

    assert opened == Counter({ov.CompiledModel: 2, ov.InferRequest: 2 * SLOTS})


@pytest.mark.usefixtures("without_the_others")
def test_a_network_that_fails_is_gone_before_the_next_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The peak is that of one network."""
    failing = {(SIGNED, WIDE), (UNSIGNED, WIDE)}
    model = open_model(write_proven_bundle(tmp_path / "bundle", VARIANTS, (WIDE,), false=failing))
    alive: list[int] = []
    compile_model = ov.Core.compile_model

    def counting(core: ov.Core, *arguments: object) -> ov.CompiledModel:
        alive.append(_counted()[ov.CompiledModel])
        return compile_model(core, *arguments)

    monkeypatch.setattr(ov.Core, "compile_model", counting)
    with pytest.raises(DeviceError, match="computes rightly"):
        open_cpu(model, (WIDE,), lambda: None, slots=1)

    assert len(alive) >= len(VARIANTS)
    assert len(set(alive)) == 1


def _counted() -> Counter[type]:
    """Count compiled networks and their requests, by type."""
    gc.collect()
    kinds = {ov.CompiledModel, ov.InferRequest}
    return Counter(kind for thing in gc.get_objects() if (kind := type(thing)) in kinds)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="needs glibc")
def test_a_run_has_few_heaps_and_its_start_is_not_collected(tmp_path: Path) -> None:
    """The command's own code on a video, in a process of its own; glibc says how many heaps its threads made."""
    _write_video(tmp_path / "line.mp4")
    (tmp_path / "streams.toml").write_text(
        'config_version = 1\n[[stream]]\nname = "a"\nurl = "file:line.mp4"\n', encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-c", INSPECT_A_FILE], cwd=tmp_path, text=True, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert 1 < done.stderr.count("Arena ") <= HEAPS


def test_what_comes_after_the_start_is_collected() -> None:
    """Cycles of a run's own objects do not pile up."""
    collected: list[str] = []

    class Loop:
        def __init__(self) -> None:
            self.itself: Callable[[], None] = self.__del__

        def __del__(self) -> None:
            collected.append("gone")

    with start_left_uncollected():
        Loop()
        gc.collect()

    assert collected == ["gone"]


def _write_video(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuv420p"
        for level in range(25):
            image = np.full((192, 320, 3), 8 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
