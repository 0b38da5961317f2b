# SPDX-License-Identifier: AGPL-3.0-or-later
"""The CPU backend: OpenCV converts, OpenVINO infers with several requests in parallel."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import av.error
import cv2
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from vision_line.cores import usable_cores
from vision_line.devices.cpu.converter import Converter
from vision_line.devices.cpu.openvino_engine import last_line, outputs_of
from vision_line.devices.cpu.planes import open_planes
from vision_line.devices.cpu.proven_engines import ProvenEngines
from vision_line.devices.device import InferenceDevice
from vision_line.devices.model.model import Model
from vision_line.devices.model.tasks import ModelTask
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.result_reader import HeadReader, Outputs
from vision_line.devices.stall import STALL_S
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Frame, Scores
from vision_line.ports import DeviceDescription, DeviceLoad, ShapeHW

#: OpenVINO's threads let go of a finished request within microseconds; on a busy machine that may take longer.
KEEP_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """A slot's request for one input shape, with the memory of its input."""

    request: ov.InferRequest
    input: NDArray[np.float32]  # (h, w, 3), shared with the request


class CpuBackend:
    """Implements `Backend` on this computer's processor.

    A batch is one frame: requests side by side use the cores better than one request with a batch (94 against 50
    images/s on two cores). Each input shape has its own compiled network with a request for each slot; the slots bound
    the frames in flight over all shapes. Inputs and outputs are allocated once.

    OpenVINO calls back on a thread of its own, where only a number is appended and `wake` called. OpenCV's own threads
    are switched off for the whole process, since they would fight the decoding threads for the cores.
    """

    kind = "cpu"
    engine = "the engine"

    def __init__(
        self,
        model: Model,
        wake: Callable[[], None],
        *,
        slots: int | None = None,
        inference_precision: str = "f32",
        exact: bool = False,
    ) -> None:
        """Prepare to compile `model` in the first variant whose proof holds here; see `open_cpu`."""
        cv2.setNumThreads(1)
        cores = usable_cores()
        self._slots = slots or cores + 1
        self._wake = wake
        self._segments = model.head.task is ModelTask.SEGMENT
        self._converter = Converter()
        self._finished: deque[int] = deque()  # filled by OpenVINO's thread; append and popleft are atomic
        self._engines = ProvenEngines(model, cores, inference_precision, exact=exact)
        self._works: dict[ShapeHW, list[_Work]] = {}
        self._networks: dict[ShapeHW, ov.CompiledModel] = {}
        self._converted: dict[int, _Work] = {}  # by slot, what is or was last in it
        version = ov.__version__.split("-")[0]
        self._detail = f"{self._engines.processor.name}, {cores} cores, OpenVINO {version}"

    @property
    def description(self) -> DeviceDescription:
        """What it is, with the shapes that are open."""
        engines = self._engines
        return DeviceDescription(
            name="cpu",
            detail=self._detail,
            precision=engines.precision,
            input_shapes_hw=tuple(self._works),
            slots=self._slots,
            max_batch=1,
            instruction_set=engines.processor.instruction_set,
            variant=engines.variant,
            variant_reason=engines.reason,
        )

    def open_shapes(self, shapes: Sequence[ShapeHW]) -> None:
        """Compile for more input shapes while the others go on; each is open when its engine is proven."""
        for shape in shapes:
            if shape not in self._works:
                network = self._engines.open(shape)
                # new dicts instead of changed ones: other threads are looking into the old ones
                self._networks = self._networks | {shape: network}
                self._works = self._works | {shape: self._open_works(network, shape)}

    def open_batches(self, frames: int) -> None:
        """Do nothing: a request takes one frame, and there are as many as a processor can work on."""

    def convert(self, slot: int, frames: Sequence[Frame], shape_hw: ShapeHW) -> Sequence[Letterbox]:
        """Convert the one frame into the input of the slot's request."""
        (frame,) = frames
        work = self._works[shape_hw][slot]
        try:
            box = self._converter.convert(open_planes(frame.data), frame.colour, work.input)
        except (cv2.error, ValueError, av.error.FFmpegError) as exc:
            raise DeviceError(
                f"camera {frame.camera!r}: frame {frame.sequence} cannot be converted: {last_line(exc)}"
            ) from exc
        self._converted[slot] = work
        return (box,)

    def start(self, slot: int) -> None:
        """Start the slot's request."""
        try:
            self._converted[slot].request.start_async()
        except RuntimeError as exc:
            raise RunError(f"cpu: the engine does not start: {last_line(exc)}") from exc

    def finished(self) -> Iterator[tuple[int, Outputs]]:
        """Give the slots whose requests called back, with their outputs (1, ...)."""
        while self._finished:
            slot = self._finished.popleft()
            try:
                outputs = outputs_of(self._converted[slot].request, segments=self._segments)
            except RuntimeError as exc:
                raise RunError(f"cpu: the engine failed: {last_line(exc)}") from exc
            yield slot, outputs

    def sample(self) -> tuple[DeviceLoad, ...]:
        """Return nothing: how busy the processor is, the process knows itself."""
        return ()

    def prove_again(self) -> str:
        """Have each network prove itself once more, with requests of its own beside those of the slots."""
        networks = self._networks.items()
        return next(filter(None, (self._engines.prove_again(shape, network) for shape, network in networks)), "")

    def engine_rate(self, shape_hw: ShapeHW, seconds: float) -> float:
        """Return how many inputs of one shape a second the network alone takes, with all slots busy for `seconds`.

        That is the bound of what inspection can reach. The slots' inputs stay as they are. Nothing may be in flight.

        Raises:
            RunError: the engine failed.
        """
        requests = [work.request for work in self._works[shape_hw]]
        done, started_s = 0, time.monotonic()
        try:
            for request in requests:
                request.start_async()
            for request in cycle(requests):
                request.wait()
                done += 1
                if time.monotonic() - started_s >= seconds:
                    break
                request.start_async()
            for request in requests:
                request.wait()
        except RuntimeError as exc:
            raise RunError(f"cpu: the engine failed: {last_line(exc)}") from exc
        finally:
            self._finished.clear()
        return (done + len(requests) - 1) / (time.monotonic() - started_s)

    def close(self, in_flight: Collection[int]) -> None:
        """Wait for the slots that are `in_flight` and release all requests.

        A request that has called back is still held by OpenVINO's thread for a moment. Were all else gone by then, that
        thread would be the last to hold the network, and would have to wait for its own end: the process would abort.
        So they are kept for a while.

        Raises:
            RunError: the engine failed, or does not answer; then what it uses is kept for ever.
        """
        deadline_s = time.monotonic() + STALL_S
        keep = _hung.append  # as long as it is not known that the engine has let go
        try:
            for slot in in_flight:
                left_s = max(0.0, deadline_s - time.monotonic())
                if not self._converted[slot].request.wait_for(int(left_s * 1e3)):
                    raise RunError(f"cpu: the engine has not answered for {STALL_S:.0f} s")
            keep = _keep_for_a_while
        except RuntimeError as exc:
            keep = _keep_for_a_while
            raise RunError(f"cpu: the engine failed: {last_line(exc)}") from exc
        finally:
            keep((self._networks, self._works))
            self._networks = {}
            self._works = {}
            self._converted.clear()
            self._finished.clear()

    def _open_works(self, network: ov.CompiledModel, shape: ShapeHW) -> list[_Work]:
        works = []
        for slot in range(self._slots):
            work = _Work(network.create_infer_request(), np.zeros((*shape, 3), np.float32))
            work.request.set_input_tensor(ov.Tensor(work.input[None], shared_memory=True))
            work.request.set_callback(self._on_finished, slot)
            works.append(work)
        return works

    def _on_finished(self, slot: int) -> None:
        self._finished.append(slot)
        self._wake()


#: What closed backends used, and since when.
_closed: deque[tuple[float, object]] = deque()
#: What an engine that never answered still uses: to release it would be to wait for it.
_hung: list[object] = []


def _keep_for_a_while(used: object) -> None:
    """Keep what OpenVINO's threads may still hold; it is released when a later backend is closed, or at the exit."""
    now_s = time.monotonic()
    while _closed and _closed[0][0] < now_s - KEEP_S:
        _closed.popleft()
    _closed.append((now_s, used))


def open_cpu(
    model: Model,
    shapes: Sequence[ShapeHW],
    wake: Callable[[], None],
    *,
    score_floor: float | Scores | None = None,
    slots: int | None = None,
    inference_precision: str = "f32",
    exact: bool = False,
) -> InferenceDevice:
    """Compile `model` for `shapes`, each in the first variant whose proof holds here; see `ProvenEngines`.

    `score_floor` is the lowest score handed back, for all classes or one for each (classes,); None: the
    model's. `slots` is the number of frames in flight; None: one more than there are cores to use, so that one
    waits while all cores work. `inference_precision` "bf16" lets processors with AMX compute the float layers in
    bfloat16: several times faster for float models, but boxes move by pixels, so it is not the default. `exact`
    executes the file in float, as it is written: slowly, and as a reference.

    Raises:
        ModelError: OpenVINO cannot read the model or reshape it to one of `shapes`, or its output is of another
            kind than its description says.
        DeviceError: OpenVINO cannot compile for this processor, or computes the model wrongly in every variant.
    """
    reader = HeadReader(model, score_floor)
    backend = CpuBackend(model, wake, slots=slots, inference_precision=inference_precision, exact=exact)
    return InferenceDevice(backend, reader, shapes)
