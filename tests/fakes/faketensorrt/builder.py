# SPDX-License-Identifier: AGPL-3.0-or-later
"""The builder: makes a plan of a network, and notes what it takes of its GPU."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from enum import IntEnum

from cuda.bindings import driver
from tests.fakes.faketensorrt.latest import LIBRARIES, MAGIC, current_gpu
from tests.fakes.faketensorrt.network import Network
from tests.fakes.faketensorrt.words import (
    BuilderFlag,
    ILogger,
    IProgressMonitor,
    MemoryPoolType,
    ProfilingVerbosity,
    Severity,
)


class Profile:
    """Smallest, best and largest shape of the input."""

    def __init__(self) -> None:
        self.shapes: tuple[tuple[int, ...], ...] = ()

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        """Set the three shapes."""
        self.shapes = shapes


class TimingCache:
    """What was measured in earlier builds: here, how many there were; other content is another GPU's."""

    def __init__(self, content: bytes) -> None:
        self.content = content + b"+"

    def serialize(self) -> bytes:
        """Return it for a file."""
        return self.content


class BuilderConfig:
    """How an engine is built."""

    def __init__(self, flags: set[BuilderFlag]) -> None:
        self._flags = flags
        self.profiles: list[Profile] = []
        self.progress_monitor: IProgressMonitor | None = None
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.num_compute_capabilities = 0  # TensorRT-RTX's
        self.profile_stream = 0  # on which kernels are timed: the default one
        self.limits: dict[MemoryPoolType, int] = {}

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        """Take at most so much."""
        self.limits[pool] = pool_size

    def add_optimization_profile(self, profile: Profile) -> int:
        """Add a profile; return its number."""
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def set_compute_capability(self, capability: IntEnum, index: int) -> bool:
        """Build for a kind of GPU; TensorRT-RTX's."""
        return index < self.num_compute_capabilities

    def set_flag(self, flag: BuilderFlag) -> None:
        """Take a flag."""
        self._flags.add(flag)

    def create_timing_cache(self, content: bytes) -> TimingCache:
        """Return a cache with `content`."""
        return TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        """Use a cache, if it is this GPU's."""
        return ignore_mismatch or not cache.content.strip(b"+")


@dataclass(frozen=True, slots=True)
class BuildTakes:
    """What a build takes of its GPU: most bytes of workspace, None: all; and the priority of what it times."""

    workspace_bytes: int | None
    priority: int | None


class Builder:
    """Makes plans."""

    def __init__(self, logger: ILogger) -> None:
        library = LIBRARIES[-1]
        if library.refuses("Builder"):
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._library = library
        self._logger = logger

    def create_network(self, flags: int) -> Network:
        """Return an empty network."""
        return Network(self._library)

    def create_builder_config(self) -> BuilderConfig:
        """Return an empty configuration."""
        self._library.flags = set()
        return BuilderConfig(self._library.flags)

    def create_optimization_profile(self) -> Profile:
        """Return an empty profile."""
        return Profile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> bytes | None:
        """Return the plan, or None."""
        self._library.builds += 1
        self._library.built_on.append(current_gpu())
        self._library.taken = BuildTakes(
            config.limits.get(MemoryPoolType.WORKSPACE), priority_of(config.profile_stream)
        )
        if self._library.refuses("build_serialized_network"):
            self._logger.log(Severity.ERROR, "the build is refused")
            return None
        if not _steps(config.progress_monitor, self._library.endless):
            return None
        head = {
            "version": self._library.module.__version__,
            "profiles": [profile.shapes for profile in config.profiles],
            "input": network.inputs[0].name,
            "input_type": network.inputs[0].dtype.name,
            "output": network.outputs[0].name,
            "details": self._library.has_details and config.profiling_verbosity is ProfilingVerbosity.DETAILED,
        }
        return MAGIC + json.dumps(head).encode() + b"\n" + network.serialized(network.outputs)


def priority_of(stream: int) -> int | None:
    """Return the priority of a live stream, None: it is the default one, where FFmpeg's decoders work."""
    if not stream:
        return None
    code, priority = driver.cuStreamGetPriority(stream)
    assert code == driver.CUresult.CUDA_SUCCESS, "the stream is closed"
    return int(priority)


def _steps(monitor: IProgressMonitor | None, endless: bool) -> bool:
    """Report a build's steps; return whether it goes on."""
    if monitor is None:
        return True
    monitor.phase_start("building", None, 2)
    while endless and monitor.step_complete("building", 0):
        time.sleep(0.01)
    goes_on = all(monitor.step_complete("building", step) for step in range(2))
    monitor.phase_finish("building")
    return goes_on
