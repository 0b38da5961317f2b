# SPDX-License-Identifier: AGPL-3.0-or-later
"""The seams: what the pipeline needs from a device, a decoder and the records, as Protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from vision_line.frames import (
    Colour,
    CoverageMinute,
    DefectEvent,
    Frame,
    Inspection,
    NotInspected,
    Scores,
    StateChange,
)

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame

#: Height and width of an engine's input in pixels.
ShapeHW = tuple[int, int]

#: Gets how much of a long piece of work is done, and how much there is in all; called in the worker's thread.
ProgressCallback = Callable[[int, int], None]

#: Batches in flight on a GPU: one is inferred, one is prepared, one is read.
GPU_SLOTS = 3

#: From here on a GPU is hot; most slow down a little above.
HOT_C = 90
#: The share of a GPU's memory from which on it is nearly full.
FULL_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class DeviceDescription:
    """What a device is: shown on the dashboard and written into the run's summary."""

    name: str  # "cpu", "cuda:0", "simulated"
    detail: str  # processor or GPU, library versions
    precision: str  # "int8", "fp32", ...: what is computed in
    input_shapes_hw: tuple[ShapeHW, ...]
    slots: int
    max_batch: int
    instruction_set: str = ""  # the processor's strongest for INT8, such as "AVX2"; "" where a GPU infers
    variant: str = ""  # of the model that runs, in words: "unsigned INT8, 7-bit weights"
    variant_reason: str = ""  # why this variant, and what proves it


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """How busy one GPU is at one moment; None is what this GPU or its driver does not report.

    Utilisation is the share of the driver's last sampling period, about a second or less, in which anything ran: 100 %
    does not mean that no more would fit. Memory is that of all processes.
    """

    name: str  # of the GPU: "cuda:0"
    memory_used_mb: int  # MiB, like the next
    memory_total_mb: int
    sm_percent: int | None = None  # the processors that infer
    decoder_percent: int | None = None  # NVDEC, the mean of its engines
    power_w: float | None = None
    energy_j: float | None = None  # used since the driver was loaded
    temperature_c: int | None = None
    throttled: bool | None = None  # whether it runs slower because it is too hot

    @property
    def busy_percent(self) -> int | None:
        """Return how busy the busier of inference and decoding is."""
        known = [percent for percent in (self.sm_percent, self.decoder_percent) if percent is not None]
        return max(known, default=None)

    @property
    def is_hot(self) -> bool:
        """Whether the GPU slows down by heat, or is near to it."""
        return bool(self.throttled) or (self.temperature_c is not None and self.temperature_c >= HOT_C)

    @property
    def is_full(self) -> bool:
        """Whether one more camera, or one more input shape, may not fit into the memory."""
        return self.memory_used_mb >= self.memory_total_mb * FULL_SHARE


@dataclass(slots=True)
class DecodedFrame:
    """A native frame as the decoder left it, and how to read it; `corrupt` when the decoder reported damage.

    Not frozen: it is made for every frame that arrives, and freezing doubles what that takes.
    """

    data: Any  # of the decoder's own type
    size_wh: tuple[int, int]
    colour: Colour
    keyframe: bool
    corrupt: bool
    pts_s: float | None


@runtime_checkable
class HostCopyable(Protocol):
    """A native frame that lies outside the host's memory and is copied for the few that people see."""

    def to_host(self) -> VideoFrame:
        """Return a copy that the caller owns; any thread, and it may wait a millisecond.

        Raises:
            DeviceError: the device cannot be read any more.
        """


#: A packet of video. PyAV types packets by their stream, which one made of bytes has not.
VideoPacket: TypeAlias = "Packet[Any]"


class EncodedVideo(Protocol):
    """What decoders read of a video before it is decoded: an `av.VideoStream`, or a camera's."""

    @property
    def codec_context(self) -> VideoCodecContext:
        """The codec and its parameters."""

    @property
    def type(self) -> str:
        """Which kind of stream it is: "video"."""


class Decoder(Protocol):
    """Turns one camera's packets into frames that stay where the device wants them. Used by one thread."""

    def decode(self, packet: VideoPacket | None) -> Iterable[DecodedFrame]:
        """Return the frames that `packet` completes; None flushes.

        Raises:
            SourceError: the stream cannot be decoded (CODEC_UNSUPPORTED, FAILED), the packet is damaged or too many
                frames are held (CORRUPT), or the decoder is closed (ENDED).
        """

    def close(self) -> None:
        """Release the codec; may be called twice."""


#: Opens a camera's decoder whose frames the device can read, in the camera's own thread: the camera's name, its
#: stream, and the colour that overrides what the stream says. Cameras start before there is a device, so decoders are
#: not the device's: `devices.selection.decoder_opener` gives the one way to them.
#: Raises SourceError: codec parameters missing or codec unsupported.
OpenDecoder: TypeAlias = Callable[[str, EncodedVideo, Colour | None], Decoder]


class Device(Protocol):
    """Owns an engine and its batch slots.

    Everything is called by the scheduler's thread, where nothing else is said. `submit` starts work and returns at
    once; finished work is picked up with `collect`. Whenever something finishes, the device calls the `wake` callback
    it was made with, from any thread; `wake` only sets an event.
    """

    @property
    def description(self) -> DeviceDescription:
        """Say what this device is."""

    def ensure_shape(self, shape_hw: ShapeHW) -> None:
        """Make the device able to inspect at one more input shape; takes a second or so, and inspection goes on.

        Any thread, one at a time.

        Raises:
            ModelError, DeviceError: the engine cannot be made for it or fails its proof; the device stays as it was.
        """

    def ensure_batch(self, frames: int) -> None:
        """Make the device able to take batches of `frames`, or of as many as it ever takes; inspection goes on.

        Takes a GPU seconds, and memory. `description.max_batch` follows when it is done, and never falls. Any thread,
        one at a time, and not while a shape is added.

        Raises:
            DeviceError: it cannot be done; the device stays as it was.
        """

    def set_score_floor(self, floor: float | Scores) -> None:
        """Hand back detections from this score on, for all classes or (classes,) one for each; any thread."""

    def shape_for(self, size_wh: tuple[int, int]) -> ShapeHW:
        """Return the input shape that a frame of this size is inspected at; a batch holds one shape. Pure."""

    def free_slots(self) -> int:
        """Return how many batches can be submitted now without waiting."""

    def submit(self, frames: Sequence[Frame]) -> None:
        """Convert `frames` (1..max_batch, all of one input shape) into a free slot and start the engine.

        Raises:
            DeviceError: the batch is empty, too large or of several shapes, no slot is free, closed, or (naming the
                camera) a frame that cannot be converted; no frame of the batch is then in flight.
            RunError: the engine does not take the work.
        """

    def collect(self) -> list[Inspection]:
        """Return what has finished since the last call, in the order it was submitted for each camera. Never blocks.

        Raises:
            RunError: the engine failed; the device is unusable from then on.
        """

    def in_flight(self) -> int:
        """Return how many frames were submitted and not yet collected."""

    def close(self) -> None:
        """Wait for the engine, release everything; may be called twice.

        Raises:
            RunError: the engine has failed, or does not answer.
        """


class ModelsDevice(Protocol):
    """Owns several models on one hardware, all open; a batch is of one of them.

    `OWN_MODEL` names the run's own, a SHA-256 that of a recipe. All else is as in `Device`.
    """

    @property
    def description(self) -> DeviceDescription:
        """Say what this device is with the run's own model."""

    def shape_for(self, model: str, size_wh: tuple[int, int]) -> ShapeHW:
        """Return the input shape at which a model inspects a frame of this size; a batch holds one shape. Pure."""

    def free_slots(self) -> int:
        """Return how many batches can be submitted now without waiting, of whichever models."""

    def submit(self, model: str, frames: Sequence[Frame]) -> None:
        """Convert `frames` (1..max_batch, all of one input shape) into a free slot and start the model's engine.

        Raises:
            DeviceError, RunError: as `Device.submit`.
        """

    def collect(self) -> list[Inspection]:
        """Return what has finished since the last call, in the order it was submitted for each camera. Never blocks.

        Each says which model inspected it, and has the numbers of the run's classes.

        Raises:
            RunError: an engine failed; the device is unusable from then on.
        """

    def in_flight(self) -> int:
        """Return how many frames were submitted and not yet collected."""

    def close(self) -> None:
        """Wait for the engines, release everything; may be called twice.

        Raises:
            RunError: an engine has failed, or does not answer.
        """


class LoadReporter(Protocol):
    """Reports how busy hardware is."""

    def sample(self) -> tuple[DeviceLoad, ...]:
        """Return how busy the hardware is now, an entry for each GPU; empty on the CPU, and where nothing is reported.

        Takes a millisecond or so, and for ever where a driver hangs: any one thread, which nobody must wait for.
        """


class LoadedDevice(Device, LoadReporter, Protocol):
    """A device as it is opened: the scheduler's thread needs the one half, whoever watches the hardware the other."""

    def prove_again(self) -> str:
        """Prove the open engines once more; return what one computes wrongly now, "" where all are right.

        Inspection goes on meanwhile. It takes as long as some frames, and for ever where an engine hangs: any one
        thread.

        Raises:
            DeviceError: it cannot be said now, such as for want of memory on a GPU.
            RunError: an engine failed.
        """


@dataclass(frozen=True, slots=True)
class LogStatus:
    """How the detection log fares: the scheduler's thread stops inspecting while it is not `writable`."""

    writable: bool = True
    reason: str = ""  # "" or "stalled", "disk full: ..." in one sentence
    pending: int = 0  # records accepted and not yet committed
    commit_latency_ms: float = 0.0  # newest result -> committed latency, milliseconds
    committed: int = 0
    evidence_bytes: int = 0
    evidence_deleted: int = 0


class DetectionLog(Protocol):
    """Takes results for ever-lasting record; called from any thread, never blocks, never drops what it accepted.

    Every write raises a RunError once the log has failed, is full beyond its hard limit, or was closed.
    """

    def write_inspection(self, inspection: Inspection, events: Sequence[DefectEvent]) -> None:
        """Accept one inspected frame with its detections and event changes (evidence is made for NEW events)."""

    def write_events(self, events: Sequence[DefectEvent]) -> None:
        """Accept event changes that no single frame brought, such as the end of an event that left the frame."""

    def write_coverage(self, minutes: Sequence[CoverageMinute], intervals: Sequence[NotInspected]) -> None:
        """Accept ledger rows; a row for the same camera and minute, or the same interval id, replaces the earlier."""

    def write_states(self, changes: Sequence[StateChange]) -> None:
        """Accept camera state changes."""

    def status(self) -> LogStatus:
        """Return how the log fares now."""

    def close(self) -> None:
        """Commit everything accepted and close; may be called twice."""


@dataclass(frozen=True, slots=True)
class OverlayStatus:
    """How the annotated videos fare; `problem` is why one cannot be written now, "" while all can."""

    written: int = 0  # inspected frames that are in a video
    dropped: int = 0  # inspected frames that are in none
    problem: str = ""


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """How the live feed fares, of all its clients so far; `problem` is why there is none, "" while it serves."""

    clients: int = 0  # connected now
    frames_dropped: int = 0  # encoded frames that a client wanted and did not take in time; the next three likewise
    results_dropped: int = 0
    snapshots_dropped: int = 0
    clients_sent_away: int = 0
    problem: str = ""
