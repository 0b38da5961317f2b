# SPDX-License-Identifier: AGPL-3.0-or-later
"""The GPUs the capacity model knows: decoders, engine times, memory.

Ultralytics publishes the INT8 time an image takes in batches of 1 and of 8 for five GPUs; a straight line through the
two gives a batch's setup and its time for each image. For the others the time for each image comes from a power law
of memory bandwidth through the four desktop and server GPUs of that table, and the setup is their mean: an estimate
that may be off by half.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

from vision_line.capacity.constants import NVDEC_FPS, ULTRALYTICS, Basis, Codec, Constant
from vision_line.errors import ConfigError

FITTED = "power law of memory bandwidth through the published GPUs"


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """A batch of n images of YOLOv8n at 640x640 in INT8 takes `setup_s + n * image_s`."""

    setup_s: float
    image_s: float
    basis: Basis
    source: str


@dataclass(frozen=True, slots=True)
class GpuModel:
    """One GPU; bandwidth in bytes a second, memory in bytes."""

    name: str
    generation: str  # of its NVDEC
    decoders: int
    decoders_basis: Basis
    bandwidth: float
    memory: float
    engine: EngineTimes

    def decode_fps(self, codec: Codec) -> Constant:
        """Return one decoder's rate at 1920x1080.

        Raises:
            ConfigError: no rate is known for the codec, or the GPU cannot decode it.
        """
        rates = NVDEC_FPS[self.generation]
        if codec not in rates:
            known = ", ".join(rates)
            raise ConfigError(f"--codec: {self.name} has no known rate for {codec}; it has for {known}")
        return rates[codec]


def published_engine(batch_1_ms: float, batch_8_ms: float) -> EngineTimes:
    """Return the line through the times an image takes (in ms) in batches of 1 and of 8."""
    image_ms = (8 * batch_8_ms - batch_1_ms) / 7
    return EngineTimes((batch_1_ms - image_ms) / 1e3, image_ms / 1e3, Basis.PUBLISHED, ULTRALYTICS)


def _gpu(name: str, generation: str, decoders: int, gb_s: float, gb: float, engine: EngineTimes) -> GpuModel:
    # NVIDIA's note says that every GeForce has one; the other counts are not checked against its matrix.
    basis = Basis.PUBLISHED if name.startswith("RTX ") else Basis.ESTIMATED
    return GpuModel(
        name, generation, decoders, decoders_basis=basis, bandwidth=gb_s * 1e9, memory=gb * 1e9, engine=engine
    )


_PUBLISHED = (
    _gpu("RTX 2060", "Turing", 1, 336, 6, published_engine(0.76, 0.75)),
    _gpu("RTX 3060", "Ampere", 1, 360, 12, published_engine(1.35, 0.80)),
    _gpu("RTX 3080 12GB", "Ampere", 1, 912, 12, published_engine(0.74, 0.52)),
    _gpu("A100", "Turing", 5, 1555, 40, published_engine(0.29, 0.28)),
)
_ORIN = _gpu("Orin NX 16GB", "Orin", 1, 102.4, 16, published_engine(2.32, 2.30))


def fitted_engine(bandwidth: float) -> EngineTimes:
    """Return the times expected of a GPU of this memory bandwidth (bytes/s): least squares in logarithms."""
    xs = [log(gpu.bandwidth) for gpu in _PUBLISHED]
    ys = [log(gpu.engine.image_s) for gpu in _PUBLISHED]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    setup_s = sum(gpu.engine.setup_s for gpu in _PUBLISHED) / len(_PUBLISHED)
    image_s = exp(y_mean + slope * (log(bandwidth) - x_mean))
    return EngineTimes(setup_s, image_s, Basis.ESTIMATED, FITTED)


def _estimated_gpu(name: str, generation: str, decoders: int, gb_s: float, gb: float) -> GpuModel:
    return _gpu(name, generation, decoders, gb_s, gb, fitted_engine(gb_s * 1e9))


GPUS: dict[str, GpuModel] = {
    gpu.name: gpu
    for gpu in (
        *_PUBLISHED,
        _ORIN,
        _estimated_gpu("RTX 4090", "Ada", 1, 1008, 24),
        _estimated_gpu("T4", "Turing", 2, 320, 16),
        _estimated_gpu("A10", "Ampere", 2, 600, 24),
        _estimated_gpu("L4", "Ada", 4, 300, 24),
        _estimated_gpu("L40S", "Ada", 3, 864, 48),
        _estimated_gpu("H100", "Turing", 7, 3350, 80),
    )
}


def find_gpu(name: str) -> GpuModel:
    """Return a GPU by its name, in any case, with or without "NVIDIA", "GeForce" and spaces.

    Raises:
        ConfigError: it is not in the table.
    """
    wanted = _plain(name)
    for gpu in GPUS.values():
        if _plain(gpu.name) == wanted:
            return gpu
    raise ConfigError(f"--gpu: {name!r} is not known; known are {', '.join(GPUS)}")


def _plain(name: str) -> str:
    words = name.lower().split()
    return "".join(word for word in words if word not in {"nvidia", "geforce"})
