# SPDX-License-Identifier: AGPL-3.0-or-later
"""A TensorRT that computes on the CPU: what the product uses of builder and runtime, with the library's own rules.

A plan is the model's ONNX file with the layers that were added to its network. A context queues its inference on the
fake CUDA driver, as two pieces of work: the first reads the input and leaves the results in the workspace, the second
brings them to the output. So inputs that are not there yet, outputs that are read too early and workspaces that two
contexts use at once all show in the results. Rows of the input that were never written give not-a-number.

Refused calls return None or False and log a reason, as the library's do; `refusals` makes any of them refuse.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

from tests.fakes.fakecuda.driver import LAUNCH_FAILED, FakeDriver
from tests.fakes.faketensorrt import builder, inspector, network, runtime, words
from tests.fakes.faketensorrt.builder import BuildTakes
from tests.fakes.faketensorrt.context import Context, Job
from tests.fakes.faketensorrt.latest import LIBRARIES
from tests.fakes.faketensorrt.runtime import RuntimeConfig
from tests.fakes.faketensorrt.words import BuilderFlag

#: The product's names for what a module of the library holds.
PUBLIC = frozenset(
    {
        "Builder",
        "BuilderFlag",
        "DataType",
        "DynamicShapesKernelSpecializationStrategy",
        "ExecutionContextAllocationStrategy",
        "ILogger",
        "LayerInformationFormat",
        "MemoryPoolType",
        "IProgressMonitor",
        "NetworkDefinitionCreationFlag",
        "OnnxParser",
        "ProfilingVerbosity",
        "ReduceOperation",
        "Runtime",
        "TensorIOMode",
        "TopKOperation",
    }
)


@dataclass(eq=False)
class FakeTensorRT:
    """One library: its module, what it refuses, and what it was asked for."""

    driver: FakeDriver
    version: str = "10.16.1.11"
    name: str = "tensorrt"
    context_type: type[Context] = Context
    config_type: type[RuntimeConfig] = RuntimeConfig
    compiled: int = 0  # kernels, where contexts compile them
    recordable: bool = True
    refusals: set[str] = field(default_factory=set)
    builds: int = 0
    runs: int = 0  # that were begun on the GPU
    built_on: list[int] = field(default_factory=list)  # the GPU of each build
    taken: BuildTakes | None = None  # of the GPU by the latest build
    endless: bool = False  # builds go on until they are stopped
    has_details: bool = True  # False: it builds as for a program that asked for none
    unfused: set[str] = field(default_factory=set)  # convolutions that it computes in float for all pairs
    wrong_from: int | None = None  # batches of this size and larger come out wrong
    flags: set[BuilderFlag] = field(default_factory=set)  # of the latest build
    module: ModuleType = field(init=False)

    def __post_init__(self) -> None:
        """Make the module, and what the driver calls."""
        self.module = ModuleType(self.name)
        for part in (words, network, builder, runtime, inspector):
            self.module.__dict__.update({name: value for name, value in vars(part).items() if name in PUBLIC})
        self.module.__dict__["__version__"] = self.version
        self._go = threading.Event()
        self._go.set()
        self._jobs: dict[int, Job] = {}
        self._numbers = itertools.count()
        self._infer = self.driver.host_function(lambda number: self._run(number, Job.infer))
        self._finish = self.driver.host_function(lambda number: self._run(number, Job.finish))
        LIBRARIES.append(self)

    def refuses(self, call: str) -> bool:
        """Return whether a call is to be refused."""
        return call in self.refusals

    def enqueue(self, stream: int, job: Job) -> None:
        """Queue a run; graphs may run it many times."""
        number = next(self._numbers)
        self._jobs[number] = job
        self._infer(stream, number)
        self._finish(stream, number)

    def hold(self) -> threading.Event:
        """Let runs wait until the returned event is set."""
        self._go = threading.Event()
        return self._go

    def _run(self, number: int, part: Callable[[Job], None]) -> int:
        self.runs += 1
        self._go.wait()
        if self.refuses("the GPU"):
            return LAUNCH_FAILED
        part(self._jobs[number])
        return 0
