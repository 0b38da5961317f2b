# SPDX-License-Identifier: AGPL-3.0-or-later
"""A Ray cluster as the rest of the program sees it: nodes, and functions from text to text that are called on them.

The only file that imports Ray. Text goes out and comes back: no frame, no record, no secret and no code of ours but
one function that sees what a node has.
"""

from __future__ import annotations

import importlib
import io
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

from vision_line.errors import ConfigError, VisionLineError
from vision_line.packages import install_extra

logger = logging.getLogger(__name__)

#: What stands for a call that is under way.
RayCall: TypeAlias = object

#: What a worker does: takes a text, and gives one. It is imported there by its name.
TextFunction = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class WorkerNode:
    """A living machine of the cluster."""

    id: str
    name: str  # for people: host, address, and the beginning of its id
    cpus: float
    gpus: int


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """What came of a call: its text, or why there is none; where the worker `died` it may be tried again."""

    text: str = ""
    problem: str = ""
    died: bool = False
    node_is_gone: bool = False


class RayCluster:
    """A connection to a cluster."""

    def __init__(self, ray: ModuleType, address: str) -> None:
        """Use the module `ray`, which is connected."""
        self._ray = ray
        self.address = address
        self._call = ray.remote(_answered)

    def nodes(self) -> list[WorkerNode]:
        """Return the living nodes that take work; a node without a core, as a head may be, does not."""
        found = [
            WorkerNode(
                id=node["NodeID"],
                name=f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:6]})",
                cpus=float(node["Resources"].get("CPU", 0.0)),
                gpus=int(node["Resources"].get("GPU", 0)),
            )
            for node in self._ray.nodes()
            if node["Alive"]
        ]
        return sorted((node for node in found if node.cpus >= 1), key=lambda node: node.name)

    def is_alive(self, node_id: str) -> bool:
        """Whether the cluster counts a node as living."""
        return any(node["NodeID"] == node_id and node["Alive"] for node in self._ray.nodes())

    def call(self, function: TextFunction, text: str, node_id: str, *, cpus: float, gpus: float) -> RayCall:
        """Begin a call on a node, once it has these cores and GPUs free; return what stands for its answer."""
        options = self._there(node_id, cpus, gpus)
        return self._call.options(**options).remote(function, text)

    def call_by_value(self, function: Callable[[], tuple[str, str]], node_id: str) -> RayCall:
        """Begin a call of a function whose code is sent with it, for a node that may not have ours."""
        return self._ray.remote(function).options(**self._there(node_id, 0, 0)).remote()

    def wait(self, pending: Sequence[RayCall], timeout_s: float) -> list[RayCall]:
        """Return those of the calls that are over, as soon as there is one or the time is over."""
        done, _ = self._ray.wait(list(pending), num_returns=1, timeout=timeout_s)
        return list(done)

    def answer(self, call: RayCall, timeout_s: float | None = None) -> CallAnswer:
        """Return what came of a call, waiting for it; one that takes too long is given up."""
        errors = self._ray.exceptions
        try:
            text, problem = self._ray.get(call, timeout=timeout_s)
        except errors.RayTaskError as exc:  # no refusal but a fault, whose traceback is wanted
            logger.error("%s", exc)
            return CallAnswer(problem=_last_line(exc))
        except errors.GetTimeoutError:
            self.cancel(call)
            return CallAnswer(problem=f"did not answer within {timeout_s:g} s")
        except errors.RayError as exc:
            # A node's death is known here before the list of nodes says it.
            is_gone = isinstance(exc, errors.NodeDiedError | errors.TaskUnschedulableError)
            return CallAnswer(problem=_first_line(exc).partition(". ")[0], died=True, node_is_gone=is_gone)
        return CallAnswer(text, problem)

    def cancel(self, call: RayCall) -> None:
        """Give a call up; its worker process is ended."""
        self._ray.cancel(call, force=True)

    def _there(self, node_id: str, cpus: float, gpus: float) -> dict[str, object]:
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        there = strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)
        # Tries are counted here, not by Ray: a second one has to go elsewhere.
        return {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0, "scheduling_strategy": there}


class _RaysWords(io.TextIOBase):
    """Where Ray's own thread prints the logs of nodes that died, which it does on standard output."""

    def write(self, text: str) -> int:
        if text.strip():
            logger.debug("Ray: %s", text.rstrip())
        return len(text)


def check_address(address: str) -> None:
    """Let an address pass at which there may be a cluster, on a machine that has Ray.

    Raises:
        ConfigError: it is neither `auto` nor HOST:PORT, or Ray is not installed.
    """
    host, colon, port = address.rpartition(":")
    if address != "auto" and not (host and colon and port.isdecimal() and "/" not in host):
        raise ConfigError(f"--ray: expected auto or HOST:PORT of the cluster's head, found {address!r}")
    _imported_ray()


@contextmanager
def connected(address: str) -> Iterator[RayCluster]:
    """Use the cluster at `address` while the block runs: `auto`, the one that this machine is part of, or HOST:PORT.

    Nothing is to be printed on standard output meanwhile.

    Raises:
        ConfigError: as `check_address`; no cluster of the same versions answers there.
    """
    check_address(address)
    ray = _imported_ray()
    with redirect_stdout(_RaysWords()):
        with _own_signals():
            try:
                ray.init(address=address, log_to_driver=False, configure_logging=False)
            except (ConnectionError, RuntimeError, ValueError, OSError) as exc:
                raise ConfigError(f"--ray {address}: no cluster that can be used: {_first_line(exc)}") from exc
        try:
            yield RayCluster(ray, address)
        finally:
            ray.shutdown()


def _imported_ray() -> ModuleType:
    with _own_signals():
        try:
            return importlib.import_module("ray")
        except ModuleNotFoundError as exc:
            raise ConfigError(f"--ray needs the package ray: {install_extra('cluster')}") from exc


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what SIGTERM does: Ray replaces it, as it is imported and as it connects."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _answered(function: TextFunction, text: str) -> tuple[str, str]:
    """Call a function on the worker; return its text, and what it refused to do in one sentence."""
    try:
        return function(text), ""
    except VisionLineError as exc:
        return "", str(exc)
    except KeyboardInterrupt:
        return "", "it was interrupted"


def _last_line(exc: BaseException) -> str:
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return lines[-1] if lines else type(exc).__name__


def _first_line(exc: BaseException) -> str:
    return next((line.strip() for line in str(exc).splitlines() if line.strip()), type(exc).__name__)
