# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds the letterbox kernel for the CPU, from the source that the GPU gets.

`build_host_kernel(folder)` returns a shared library. Its functions `host_letterbox_float` and `host_letterbox_half`
(`HostFunction`) are called as a fake driver calls a kernel: with pointers to the parameters, the grid and the block.
They run all threads one after the other and are done when they return. The parameters are those of the kernels:
`const FrameParams* frames, Output* output, int width, int height`, of `PARAMETER_BYTES`; addresses are the host's.

    library = ctypes.CDLL(str(build_host_kernel(folder)))
    fake.add_kernel("letterbox_half", library.host_letterbox_half, PARAMETER_BYTES)

`HostCheck` runs the same source in a process of its own under the address and undefined-behaviour sanitizers.
"""

from __future__ import annotations

import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

import vision_line.devices.cuda as cuda_device

KERNELS = ("letterbox_float", "letterbox_half")

#: Sizes of the kernels' parameters, in their order.
PARAMETER_BYTES = (8, 8, 4, 4)

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")

_HOST = Path(__file__).parent / "host"
_KERNELS = Path(cuda_device.__file__).parent / "kernels"
_OPTIONS = ("-std=c++17", "-g", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off")


def missing() -> str | None:
    """Return what is needed and not there, as the reason of a skip, or None."""
    return None if shutil.which("g++") else "needs g++: apt-get install g++"


def build_host_kernel(folder: Path) -> Path:
    """Return the shared library of the kernels, built in `folder`."""
    return _build(_HOST / "letterbox_library.cpp", folder / "libletterbox.so", "-O2", "-fPIC", "-shared")


def build_host_check(folder: Path) -> Path:
    """Return the program that `HostCheck` runs, built in `folder` with the sanitizers."""
    return _build(_HOST / "letterbox_check.cpp", folder / "letterbox_check", "-O1", *SANITIZERS)


def _build(source: Path, target: Path, *options: str) -> Path:
    command = ["g++", *_OPTIONS, *options, f"-I{_KERNELS}", str(source), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"g++ cannot build {target.name}:\n{done.stderr}")
    return target


@dataclass(frozen=True, slots=True)
class HostFrame:
    """A frame for `HostCheck`: what the kernel is told, and what lies at the addresses, without a byte more."""

    record: np.void  # of kernel.FRAME_PARAMS; addresses count from the begin of the plane or table
    luma: bytes
    chroma: bytes
    tables: tuple[bytes, bytes, bytes, bytes]  # luma across, luma down, chroma across, chroma down


class HostCheck:
    """A process that runs batches under the sanitizers; a finding of theirs ends it, and is on stderr."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the process end; leaks are findings too."""
        self._process.communicate()
        if kind is None:
            assert self._process.returncode == 0, "the sanitizers found something, see stderr"

    def run(self, frames: Sequence[HostFrame], dst_hw: tuple[int, int], *, half: bool) -> NDArray[np.floating]:
        """Return the batch (n, 3, h, w), float16 or float32."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        dtype = np.dtype(np.float16 if half else np.float32)
        shape = (len(frames), 3, *dst_hw)
        head = np.array([half, len(frames), dst_hw[1], dst_hw[0]], np.int32).tobytes()
        self._process.stdin.write(head + b"".join(_serialised(frame) for frame in frames))
        self._process.stdin.flush()
        batch = self._process.stdout.read(math.prod(shape) * dtype.itemsize)
        assert len(batch) == math.prod(shape) * dtype.itemsize, "the sanitizers found something, see stderr"
        return np.frombuffer(batch, dtype).reshape(shape)


def _serialised(frame: HostFrame) -> bytes:
    blobs = (frame.luma, frame.chroma, *frame.tables)
    return frame.record.tobytes() + b"".join(np.int64(len(blob)).tobytes() + blob for blob in blobs)
