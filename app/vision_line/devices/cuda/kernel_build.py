# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds the preprocessing kernel for one kind of GPU, without needing that GPU, and keeps what was built.

Machine code is made, not PTX: drivers refuse the PTX of compilers that are newer than they are.
"""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from vision_line.devices.cuda.context import translated_errors
from vision_line.errors import DeviceError

if TYPE_CHECKING:
    from cuda.core import ObjectCode, Program, ProgramOptions

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).parent / "kernels" / "letterbox.cu"

#: Built kernels kept on disk, in bytes: some 30 kB for each kind of GPU and compiler version.
MAX_CACHE_BYTES = 4 << 20


def program_options(sm: int) -> ProgramOptions:
    """Return how the kernel is compiled for compute capability `sm` (86 for 8.6): floats are never contracted."""
    from cuda.core import ProgramOptions

    return ProgramOptions(name=SOURCE.name, std="c++17", arch=f"sm_{sm}", fma=False)


def build_cubin(sm: int, cache_dir: Path | None) -> ObjectCode:
    """Return the kernels as machine code for compute capability `sm`, which needs no GPU.

    `cache_dir` keeps it by source, options, target and compiler version; it may be shared, and deleted at any time.
    Where it cannot be written the kernel is built at every start.

    Raises:
        DeviceError: there is no NVRTC, it knows no GPU of this generation, or it does not take the source.
    """
    from cuda.core import Program

    with translated_errors(DeviceError, "the preprocessing kernel cannot be built"):
        program = Program(SOURCE.read_text(encoding="utf-8"), "c++", program_options(_target(sm)))
        with closing(program):
            return _compiled(program, cache_dir)


def _compiled(program: Program, cache_dir: Path | None) -> ObjectCode:
    from cuda.core.utils import FileStreamProgramCache

    if cache_dir is not None:
        try:
            return program.compile("cubin", cache=FileStreamProgramCache(cache_dir, max_size_bytes=MAX_CACHE_BYTES))
        except OSError as exc:
            logger.warning(
                "the preprocessing kernel cannot be cached in %s, and is compiled at each start: %s", cache_dir, exc
            )
    return program.compile("cubin")


def _target(sm: int) -> int:
    """Return `sm` itself, or the newest that its hardware runs too among what the compiler knows."""
    from cuda.bindings import nvrtc

    try:
        _, major, minor = nvrtc.nvrtcVersion()
    except RuntimeError as exc:  # what the loader raises when there is no such library
        raise DeviceError(f"cuda: the compiler NVRTC is missing: install nvidia-cuda-nvrtc ({exc})") from exc
    known = [known for known in nvrtc.nvrtcGetSupportedArchs()[1] if known // 10 == sm // 10 and known <= sm]
    if not known:
        raise DeviceError(
            f"cuda: NVRTC {major}.{minor} makes no code for compute capability {sm / 10}: update nvidia-cuda-nvrtc"
        )
    return int(max(known))
