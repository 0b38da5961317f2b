# SPDX-License-Identifier: AGPL-3.0-or-later
"""The library's enumerations, and what it calls: a logger and a build's monitor."""

from __future__ import annotations

from enum import IntEnum


class ProfilingVerbosity(IntEnum):
    """What an engine keeps of its layers."""

    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class Severity(IntEnum):
    """How bad a message is."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class ILogger:
    """Takes the library's messages."""

    INTERNAL_ERROR = Severity.INTERNAL_ERROR
    ERROR = Severity.ERROR
    WARNING = Severity.WARNING
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def log(self, severity: Severity, message: str) -> None:
        """Take a message."""
        raise NotImplementedError


class IProgressMonitor:
    """Hears of a build's steps, and can end it."""

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Hear that a phase begins."""

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Hear that a step is done; return whether to go on."""
        return True

    def phase_finish(self, phase_name: str) -> None:
        """Hear that a phase has ended."""


class DataType(IntEnum):
    """Element types; written as the library's bindings write them."""

    def __str__(self) -> str:
        return f"DataType.{self.name}"

    FLOAT = 0
    HALF = 1
    INT32 = 3


class TensorIOMode(IntEnum):
    """What an engine's tensor is."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ReduceOperation(IntEnum):
    """Reductions."""

    MAX = 2


class TopKOperation(IntEnum):
    """Which end is kept."""

    MAX = 0


class BuilderFlag(IntEnum):
    """What a builder may do."""

    SPARSE_WEIGHTS = 7
    REQUIRE_USER_ALLOCATION = 28  # TensorRT-RTX's


class NetworkDefinitionCreationFlag(IntEnum):
    """How networks are made."""

    STRONGLY_TYPED = 1


class MemoryPoolType(IntEnum):
    """What memory a build may take."""

    WORKSPACE = 0


class ExecutionContextAllocationStrategy(IntEnum):
    """Who allocates a context's memory."""

    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class DynamicShapesKernelSpecializationStrategy(IntEnum):
    """When kernels are compiled; TensorRT-RTX's."""

    LAZY = 0
    EAGER = 1
