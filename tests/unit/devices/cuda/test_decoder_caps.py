# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a GPU's decoder takes: asked of that GPU, while other threads go on, and told in one sentence where it fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.fakes.fakecuda.driver import FakeDriver

from vision_line.devices.cuda.context import GpuContext, open_gpu
from vision_line.devices.cuda.decoders import decoder_caps as asking
from vision_line.devices.cuda.decoders.decoder_caps import DecoderCaps, decoder_caps
from vision_line.errors import DeviceError

INVALID_VALUE = 1


def test_each_gpu_answers_for_itself(fake_cuda: FakeDriver) -> None:
    """A second GPU that decodes less is not taken for the first one."""
    fake_cuda.show(2)
    fake_cuda.decoder(0, engines=3)
    fake_cuda.decoder(1, supported=False, most_macroblocks=8192)

    open_gpu(0)
    assert decoder_caps("hevc", 10) == DecoderCaps(True, 3, (48, 16), (4096, 4096), 65536)
    open_gpu(1)
    assert decoder_caps("hevc", 10) == DecoderCaps(False, 1, (48, 16), (4096, 4096), 8192)


def test_other_threads_go_on_while_it_is_asked(fake_cuda: FakeDriver) -> None:
    """The driver answers only when another thread lets it: with the interpreter held that would never be."""

    def ask() -> DecoderCaps:
        open_gpu(0)
        begun.set()
        return decoder_caps("h264", 8)

    begun = threading.Event()
    with ThreadPoolExecutor(1) as camera:
        with fake_cuda.holding_decoder_caps():
            asked = camera.submit(ask)
            begun.wait()
            while not fake_cuda.calls("cuvidGetDecoderCaps"):
                pass  # its call has begun, and this thread runs
        assert asked.result().supported


def test_a_driver_that_does_not_answer_is_no_traceback(
    gpu: GpuContext, fake_cuda: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the call, and a library that a container was not given, are each one sentence."""
    fake_cuda.inject("cuvidGetDecoderCaps", INVALID_VALUE)
    with pytest.raises(DeviceError, match=r"^NVDEC does not say what it can decode: CUDA error 1$"):
        decoder_caps("h264", 8)

    monkeypatch.setattr(asking, "LIBRARY", "libnvcuvid-that-is-nowhere.so.1")
    with pytest.raises(DeviceError, match=r"nowhere.* NVIDIA_DRIVER_CAPABILITIES=compute,utility,video$"):
        decoder_caps("h264", 8)
