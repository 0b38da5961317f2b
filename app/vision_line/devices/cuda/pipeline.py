# SPDX-License-Identifier: AGPL-3.0-or-later
"""What one GPU holds for inspecting: batch slots, the letterbox kernel, and an engine for each input shape."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vision_line.devices.cuda.engine_cache import cache_folder, choose_library, engine_sources, target_of
from vision_line.devices.cuda.kernel import LetterboxKernel, Record
from vision_line.devices.cuda.memory import Reserve
from vision_line.devices.cuda.proven_engine import EngineOpener, ProvenEngine, open_prover
from vision_line.devices.cuda.slots import MAX_BATCH, Batch, Slot
from vision_line.devices.cuda.surface import Surface
from vision_line.devices.cuda.tensorrt_engine import Engine, buckets_for
from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.devices.stall import STALL_S
from vision_line.devices.tensorrt.build import check_library, open_library
from vision_line.errors import DeviceError, RunError
from vision_line.frames import Frame
from vision_line.ports import ShapeHW

if TYPE_CHECKING:
    from vision_line.devices.cuda.context import GpuContext


class SlotPipeline:
    """Opens shapes and larger batches, proves engines, starts batches; a thread may do one of these each.

    The GPU is current in all of them. Whoever does something to engines beside starting them takes turns.

    Streams: one for each slot (parameters, kernel, results), and `inference`, on which all engines run one after the
    other because they share a workspace. `recorder` only records graphs and `uploads` only brings tap tables.
    """

    def __init__(
        self,
        gpu: GpuContext,
        model: Model,
        slots: int,
        cache: Path | None = None,
        stop: threading.Event | None = None,
        on_status: Callable[[str], None] | None = None,
        max_batch: int = MAX_BATCH,
    ) -> None:
        """Allocate `slots` slots; `cache`, `stop` and `on_status` are those of `engine_sources`.

        Engines are opened for batches of `max_batch` frames, until `open_batches` asks for more.

        Raises:
            DeviceError: no TensorRT, a version of it that does not go with the GPU, or too little memory.
        """
        self._gpu = gpu
        self._model = model
        self._cache = cache or cache_folder()
        self._stop = stop
        self._on_status = on_status
        library = choose_library()
        self._target = target_of(gpu, library)
        self._trt = open_library(library)
        check_library(self._target)
        self._buckets = buckets_for(max_batch)
        self._turn = threading.Lock()
        self._closing = threading.Event()
        self._engines: dict[ShapeHW, Engine] = {}
        self._proven: dict[ShapeHW, ProvenEngine] = {}
        self._opener = EngineOpener(gpu, self._trt, model, open_prover(model), self._cache)
        self._kernels: dict[bool, LetterboxKernel] = {}  # by whether the input is of half precision
        self._streams = [gpu.open_stream() for _ in range(3)]
        self._inference, self._recorder, self._uploads = self._streams
        device = gpu.device
        self._workspace = Reserve(lambda nbytes: device.allocate(nbytes, stream=self._inference))
        self.slots = tuple(Slot(number, gpu) for number in range(slots))

    @property
    def detail(self) -> str:
        """Return the GPU, and the versions of what drives it."""
        return f"{self._gpu.name}, CUDA {self._gpu.driver}, {self._target.library} {self._trt.__version__}"

    @property
    def precision(self) -> str:
        """Return what the engines compute in, "int8" or "fp16"; all of it where they differ."""
        return " and ".join(sorted({self._proven[shape].precision for shape in self._engines}))

    @property
    def reason(self) -> str:
        """Return what proves the engines."""
        return "; ".join(dict.fromkeys(self._proven[shape].proven_by for shape in self._engines))

    @property
    def shapes(self) -> tuple[ShapeHW, ...]:
        """Return the input shapes that batches can have."""
        return tuple(self._engines)

    @property
    def max_batch(self) -> int:
        """Return how many frames a batch can have, of whichever shape."""
        return self._buckets[-1]

    def open_shapes(self, shapes: Sequence[ShapeHW]) -> None:
        """Load engines for `shapes`, prove and prepare them; they are offered when all are ready.

        Raises:
            DeviceError, ModelError: as `engine_sources` and `EngineOpener`; nothing new is offered then.
        """
        opened: dict[ShapeHW, Engine] = {}
        with ExitStack() as undo:
            for shape in shapes:
                opened[shape] = self._load(shape)
                undo.callback(opened[shape].close)
            with self._taking_turns():
                self._prepare(opened, self._buckets)
            undo.pop_all()
        self._engines = self._engines | opened  # a new dict, because another thread is looking into the old one

    def open_batches(self, frames: int) -> None:
        """Make batches of `frames` possible, or of as many as engines take; they are when all shapes have them.

        Larger batches get memory of their own, beside that of the smaller ones, which go on in theirs.

        Raises:
            DeviceError: an engine cannot be run with larger batches or computes wrongly, or too little memory; batches
                stay as they were.
        """
        buckets = buckets_for(frames)
        if buckets[-1] <= self.max_batch:
            return
        workspaces = self._workspace.pieces
        try:
            for shape in self._engines:
                self._open_buckets(shape, buckets)
            with self._taking_turns():
                self._prepare(self._engines, buckets)
        except BaseException:
            with self._taking_turns():
                self._keep(self._buckets)
                self._workspace.keep(workspaces)
            raise
        self._buckets = buckets

    def prove_again(self) -> str:
        """Return what an open engine computes wrongly now, "" where all are right.

        Batch by batch size, each in memory and on a stream of its own that gives way to what inspects.

        Raises:
            DeviceError: it cannot be said, such as for want of memory.
        """
        for shape in self._engines:
            for bucket in self._buckets:  # those that are offered: others may be given up again
                with self._turn:
                    if self._closing.is_set():
                        return ""
                    fault = self._opener.prove(self._proven[shape], shape, [bucket])
                if fault:
                    what = f"{self._proven[shape].precision} engine at {shape[1]}x{shape[0]}, batches of {bucket}"
                    return f"{self._gpu.label}: {what}, which was right before, computes wrongly now, {fault}"
        return ""

    def describe(self, slot: Slot, frames: Sequence[Frame], shape: ShapeHW) -> tuple[Letterbox, ...]:
        """Fill the kernel's parameters in `slot` for a batch of `frames` and return their geometry.

        Raises:
            DeviceError: naming the camera, a frame that is not on this GPU, or of another size than it says.
        """
        rows = zip(frames, slot.params[: len(frames)], strict=True)
        boxes = tuple([self._describe(frame, shape, record) for frame, record in rows])
        slot.batch = Batch(len(frames), shape)
        slot.ready = tuple([frame.data.ready for frame in frames if frame.data.ready is not None])
        return boxes

    def start(self, slot: Slot) -> None:
        """Queue the batch that was described in `slot`, whose `done` event follows it.

        Raises:
            RunError: the GPU does not take the work.
        """
        engine = self._engines[slot.batch.shape_hw]
        slot.start(self._kernels[_takes_half(engine)], engine, self._inference)

    def close(self) -> None:
        """Wait for what is queued, also of a batch that was not started whole, and free all. Twice is allowed.

        Raises:
            RunError: what is done to an engine meanwhile does not end; nothing is freed then.
        """
        self._closing.set()
        if not self._turn.acquire(timeout=STALL_S):
            raise RunError(f"cuda: an engine has not answered for {STALL_S:.0f} s")
        try:
            self._close()
        finally:
            self._turn.release()

    def _close(self) -> None:
        for stream in (*(slot.stream for slot in self.slots), *self._streams):
            if not stream.is_closed:
                stream.sync()
        for engine in self._engines.values():
            engine.close()
        self._engines = {}
        for kernel in self._kernels.values():
            kernel.close()
        for slot in self.slots:
            slot.close()
        self._workspace.close()
        while self._streams:
            self._streams.pop().close()

    def _describe(self, frame: Frame, shape: ShapeHW, record: Record) -> Letterbox:
        data = frame.data
        if not isinstance(data, Surface) or data.device != self._gpu.index:
            raise DeviceError(
                f"camera {frame.camera!r}: frame {frame.sequence} cannot be converted: "
                f"expected a frame on GPU {self._gpu.index}, found {type(data).__name__}"
            )
        if data.size_wh != frame.size_wh:
            raise DeviceError(
                f"camera {frame.camera!r}: frame {frame.sequence} cannot be converted: "
                f"expected a frame of {frame.size_wh}, found {data.size_wh}"
            )
        box = Letterbox(frame.size_wh, shape)
        self._kernels[_takes_half(self._engines[shape])].describe(data, frame.colour, box, record)
        return box

    def _load(self, shape: ShapeHW) -> Engine:
        sources = engine_sources(self._model, shape, self._target, self._cache, self._stop, self._on_status)
        self._proven[shape] = self._opener.open(sources, shape, self._inference, self._buckets)
        return self._proven[shape].engine

    def _open_buckets(self, shape: ShapeHW, buckets: Sequence[int]) -> None:
        """Open and prove those of `buckets` that an open engine lacks."""
        engine = self._engines[shape]
        new = [bucket for bucket in buckets if bucket not in engine.buckets]
        if not new:
            return
        with self._taking_turns():
            engine.open_buckets(new, self._inference)
            fault = self._opener.prove(self._proven[shape], shape, new)
        if fault:
            raise DeviceError(f"{self._gpu.label}: batches of {new[0]} to {new[-1]} are computed wrongly, {fault}")

    def _keep(self, buckets: Sequence[int]) -> None:
        """Give up what was opened for other buckets than these, none of which was offered."""
        for engine in self._engines.values():
            engine.keep(buckets)
        for slot in self.slots:
            slot.keep(buckets)

    def _prepare(self, engines: Mapping[ShapeHW, Engine], buckets: Sequence[int]) -> None:
        """Prepare those of `buckets` that `engines` lack."""
        if not engines:
            return
        workspace_bytes = max(engine.workspace_bytes(buckets[-1]) for engine in engines.values())
        # the largest first, whose memory the others share
        for shape, engine in sorted(engines.items(), key=lambda item: item[1].input.nbytes, reverse=True):
            new = [bucket for bucket in buckets if bucket not in engine.buckets]
            if not new:
                continue
            half = _takes_half(engine)
            if half not in self._kernels:
                folder = self._cache.parent / "kernels"
                kernel = LetterboxKernel(self._gpu.device, self._uploads, half=half, cache_dir=folder)
                self._kernels = self._kernels | {half: kernel}
            workspace = self._workspace.at_least(workspace_bytes)
            self._inference.sync()  # slots and workspace are allocated before another stream uses them
            places = [slot.place(shape, engine, new) for slot in self.slots]
            engine.prepare(self._gpu, workspace, places, self._inference, self._recorder)

    @contextmanager
    def _taking_turns(self) -> Iterator[None]:
        """Wait for one's turn at the engines; nobody gets one any more when all is being closed."""
        with self._turn:
            if self._closing.is_set():
                raise DeviceError(f"{self._gpu.label}: the device is closed")
            yield


def _takes_half(engine: Engine) -> bool:
    return engine.input.dtype == np.float16
