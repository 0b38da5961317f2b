# SPDX-License-Identifier: AGPL-3.0-or-later
"""What TensorRT-RTX compiles when an engine is loaded, kept on disk: the next start takes it from there.

Its plans hold no machine code: each context compiles its kernels for the GPU at hand, which takes seconds to a minute
for all of an engine's contexts. With one cache they share what they compile. TensorRT has no such thing.
"""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from vision_line.devices.tensorrt.engine_manifest import write_whole
from vision_line.errors import DeviceError

if TYPE_CHECKING:
    import tensorrt_rtx

logger = logging.getLogger(__name__)


def runtime_cache_path(folder: Path, plan: bytes, gpu_name: str) -> Path:
    """Return where the kernels of `plan` on a GPU of this name are kept in the folder for engines."""
    gpu = re.sub(r"[^A-Za-z0-9]+", "-", gpu_name).strip("-")
    return folder / "runtime" / f"{hashlib.sha256(plan).hexdigest()[:16]}-{gpu}.cache"


class RuntimeCache:
    """The kernels of one engine, for all of its contexts, which it must outlive. For one thread.

    The library checks what it is given: a file of another GPU, driver or version, and one that is damaged, is not used.
    """

    def __init__(self, path: Path | None) -> None:
        """`path` is where they are kept between starts; None: they are not."""
        self._path = path
        self._cache: tensorrt_rtx.IRuntimeCache | None = None
        self._loaded = b""

    def attach(self, config: tensorrt_rtx.IRuntimeConfig) -> None:
        """Let the contexts that are made with `config` use it; the GPU is current."""
        if not hasattr(config, "create_runtime_cache"):
            return
        if self._cache is None:
            self._cache = self._open(config)
        if not config.set_runtime_cache(self._cache):
            logger.warning("TensorRT-RTX takes no runtime cache: each start compiles the engine's kernels anew")

    def keep(self) -> None:
        """Write what was compiled by now, where that is more than what was found."""
        if self._cache is None or self._path is None:
            return
        content = bytes(self._cache.serialize())
        if content == self._loaded:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, content)
        except (DeviceError, OSError) as exc:
            logger.warning("the engine's compiled kernels cannot be kept, and are compiled at each start: %s", exc)
        else:
            self._loaded = content

    def close(self) -> None:
        """Let go of it; the contexts are gone. May be called twice."""
        self._cache = None

    def _open(self, config: tensorrt_rtx.IRuntimeConfig) -> tensorrt_rtx.IRuntimeCache:
        cache = config.create_runtime_cache()
        content = self._stored()
        if content and cache.deserialize(content):
            self._loaded = content
        elif content:
            logger.info("%s: kernels of another GPU, driver or version, which are compiled anew", self._path)
        return cache

    def _stored(self) -> bytes:
        if self._path is None:
            return b""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as exc:
            logger.warning(
                "%s: cannot be read, so the engine's kernels are compiled anew: %s", self._path, exc.strerror
            )
            return b""
