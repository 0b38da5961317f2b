# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds the fake CUDA driver, puts it where cuda.core looks for the real one, and lets tests steer it."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import importlib.util
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.host_kernel import KERNELS, PARAMETER_BYTES, build_host_kernel

import vision_line.devices.cuda as cuda_device
from vision_line.devices.cuda.decoders.decoder_caps import LIBRARY

SOURCE = Path(__file__).parent / "fakecuda.cpp"
_KERNEL_SOURCE = Path(cuda_device.__file__).parent / "kernels"
MOST_GPUS = 4
SKIP = -1
OUT_OF_MEMORY = 2
ILLEGAL_ADDRESS = 700
LAUNCH_FAILED = 719

#: What must be gone when everything is closed.
KINDS = ("device bytes", "host bytes", "streams", "events", "graphs", "executable graphs")

_HostFunction = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint64)


class Schedule(IntEnum):
    """When queued work runs: as late as allowed, at once, or in any allowed order."""

    LAZY = 0
    EAGER = 1
    RANDOM = 2


class FakeDriver:
    """The one driver of the process; `reset` makes it as new, but for objects that are still alive."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._kept: list[Any] = []
        library.fake_calls.restype = library.fake_live.restype = ctypes.c_long
        library.fake_is_live.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
        library.fake_schedule.argtypes = [ctypes.c_int, ctypes.c_uint64]
        library.fake_is_capturing.argtypes = [ctypes.c_uint64]
        library.fake_enqueue.argtypes = [ctypes.c_uint64, _HostFunction, ctypes.c_uint64]
        library.fake_inject.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int]

    def reset(self) -> None:
        """Let what is queued end; forget counts, injections, faults and what the machine was said to be."""
        self._library.fake_reset()

    def settle(self) -> None:
        """Let everything that is queued run."""
        self._library.fake_settle()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let threads that wait for an event wait for the end of this too, so that work piles up."""
        self._library.fake_pause(1)
        try:
            yield
        finally:
            self._library.fake_pause(0)

    def schedule(self, schedule: Schedule, seed: int = 0) -> None:
        """Say in which order queued work runs."""
        self._library.fake_schedule(schedule, seed)

    def machine(self, *, plugged: bool = True, driver_version: int = 13000, capability: int = 86) -> None:
        """Say whether there is a GPU, of which compute capability, and what the driver supports."""
        self._library.fake_machine(plugged, driver_version, capability)

    def decoder(self, gpu: int = 0, *, supported: bool = True, engines: int = 1, most_macroblocks: int = 65536) -> None:
        """Say what the decoder of one GPU takes; frames of 48x16 to 4096x4096."""
        self._library.fake_decoder(gpu, supported, engines, most_macroblocks)

    @contextmanager
    def holding_decoder_caps(self) -> Iterator[None]:
        """Let whoever asks what a decoder takes wait until the end of this, and fail after 20 s."""
        self._library.fake_hold_caps(1)
        try:
            yield
        finally:
            self._library.fake_hold_caps(0)

    def show(self, gpus: int) -> None:
        """Show so many GPUs, up to four, all alike."""
        self._library.fake_gpus(gpus)

    def inject(self, name: str, code: int, at: int = 1) -> None:
        """Let the call number `at` of `name` from now on give `code`; SKIP: succeed without doing anything."""
        self._library.fake_inject(name.encode(), at, code)

    def calls(self, name: str) -> int:
        """Return how often a function was called since the reset."""
        return int(self._library.fake_calls(name.encode()))

    def live(self) -> dict[str, int]:
        """Return how many objects and bytes there are, without kinds of which there are none."""
        counts = {kind: int(self._library.fake_live(kind.encode())) for kind in KINDS}
        return {kind: count for kind, count in counts.items() if count}

    def is_live(self, address: int, size: int) -> bool:
        """Return whether these bytes lie within one allocation."""
        return bool(self._library.fake_is_live(address, size))

    def is_capturing(self, stream: int) -> bool:
        """Return whether work for `stream` is being captured."""
        return bool(self._library.fake_is_capturing(stream))

    @property
    def fault(self) -> int:
        """Return the CUDA error that work left behind, 0: none. Every call gives it until the reset."""
        return int(self._library.fake_fault())

    @property
    def context_flags(self) -> int:
        """Return the primary context's flags."""
        return int(self._library.fake_context_flags())

    def add_kernel(self, name: str, function: Any, parameter_bytes: Sequence[int]) -> None:
        """Let a kernel of this name be a host function (void** parameters, unsigned grid[3], unsigned block[3])."""
        self._kept.append(function)
        sizes = (ctypes.c_uint64 * len(parameter_bytes))(*parameter_bytes)
        self._library.fake_kernel(name.encode(), ctypes.cast(function, ctypes.c_void_p), len(sizes), sizes)

    def host_function(self, function: Callable[[int], int]) -> Callable[[int, int], int]:
        """Return what queues `function` on a stream: called with the stream and the function's argument.

        `function` returns 0, or a CUDA error. It lives as long as the process, as queued work may.
        """
        compiled = _HostFunction(function)
        self._kept.append(compiled)
        return lambda stream, argument: int(self._library.fake_enqueue(stream, compiled, argument))


def missing() -> str | None:
    """Return what the fake driver needs and this machine does not have, or None."""
    if shutil.which("g++") is None:
        return "needs g++: apt-get install g++"
    if importlib.util.find_spec("cuda.core") is None:
        return 'needs cuda-core: pip install ".[cuda]"'
    return None if _include_folder() else "needs cuda.h: pip install nvidia-cuda-runtime"


def add_kernels(fake: FakeDriver) -> None:
    """Let the driver run the product's kernels, built for the host once for each version of their source."""
    sources = [*_KERNEL_SOURCE.glob("*.cu"), *(Path(__file__).parents[1] / "host").glob("*")]
    folder = _cache_folder("letterbox", *sources)
    if not (folder / "libletterbox.so").exists():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        part.mkdir(parents=True)
        build_host_kernel(part)
        _put_in_place(part, folder)
    library = ctypes.CDLL(str(folder / "libletterbox.so"))
    for name in KERNELS:
        fake.add_kernel(name, getattr(library, f"host_{name}"), PARAMETER_BYTES)


def _include_folder() -> Path | None:
    folders = (Path(sysconfig.get_paths()["purelib"]) / "nvidia").glob("*/include/cuda.h")
    return next((path.parent for path in folders), None)


def _cache_folder(name: str, *sources: Path) -> Path:
    """Return a folder of the user's cache for what is built of `sources`."""
    content = hashlib.sha256(b"".join(source.read_bytes() for source in sorted(sources))).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "vision-line" / "tests" / f"{name}-{content}"


def _put_in_place(part: Path, folder: Path) -> None:
    """Give a folder that was built its name, unless another process was faster."""
    try:
        part.rename(folder)
    except OSError:
        shutil.rmtree(part)


def _build_driver() -> Path:
    """Return the driver's library, built once for each version of its source."""
    folder = _cache_folder("fakecuda", SOURCE)
    library = folder / "libfakecuda.so"
    if not library.exists():
        part = folder.with_name(f"{folder.name}.{os.getpid()}")
        part.mkdir(parents=True)
        command = ["g++", "-O1", "-std=c++17", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden"]
        command += [
            "-Wl,-Bsymbolic",
            f"-Wl,-soname,{LIBRARY}",
            f"-I{_include_folder()}",
            str(SOURCE),
            "-ldl",
            "-o",
            str(part / library.name),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"g++ cannot build the fake driver:\n{done.stderr}")
        _put_in_place(part, folder)
    return library


@cache
def load_fake_driver() -> FakeDriver:
    """Return the process's fake driver, built and given to cuda.core.

    Only cuda.core's own loader is told where it is: no other library of this process sees it. By its soname it is the
    driver's video library too, which the loader of the system finds. The real driver can not be used any more by this
    process, and a process that has used the real one cannot use this.
    """
    path = _build_driver()
    library = ctypes.CDLL(str(path))
    with _found_as("cuda", library, path):
        from cuda.bindings import driver

        assert driver.cuInit(0)[0] == 0, "the real driver is in use already"
    fake = FakeDriver(library)
    assert fake.calls("cuInit") == 1, "the real driver is in use already"
    _let_know_all_gpus(fake)
    add_kernels(fake)
    return fake


def _let_know_all_gpus(fake: FakeDriver) -> None:
    """Let cuda.core, which counts the GPUs once for each thread, count the most that there can be in this one."""
    from cuda.core import Device

    fake.show(MOST_GPUS)
    Device(0)
    fake.show(1)


@contextmanager
def _found_as(name: str, loaded: ctypes.CDLL, path: Path) -> Iterator[None]:
    """Let the loader of NVIDIA's Python packages find `loaded` under `name` for as long as this lasts."""
    from cuda.pathfinder import LoadedDL

    # Not the public function in front of it: who has imported cuda.bindings already holds that one itself.
    loader = importlib.import_module("cuda.pathfinder._dynamic_libs.load_nvidia_dynamic_lib")
    find = loader._load_lib_no_cache

    def find_fake(wanted: str) -> LoadedDL:
        return LoadedDL(str(path), False, loaded._handle, "fake") if wanted == name else find(wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "_load_lib_no_cache", find_fake)
        yield
