# SPDX-License-Identifier: AGPL-3.0-or-later
"""The machine of fakes that the program runs on."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fakes.fakecuda.fixtures import fake_cuda, fake_cuda_process
from tests.fakes.machine import cuda_machine, engine_folder, second_gpu

__all__ = ["cuda_machine", "engine_folder", "fake_cuda", "fake_cuda_process", "second_gpu"]

#: Debian's PyGObject, built for Debian's own Python.
_BUILDS = sorted(Path("/usr/lib/python3/dist-packages/gi").glob("_gi.cpython-*.so"))
_FITS = any(f"cpython-{sys.version_info.major}{sys.version_info.minor}-" in build.name for build in _BUILDS)

#: No package that could be installed makes these tests run on another Python, so they are none that could run here.
collect_ignore = ["test_jetson_decoding.py"] if _BUILDS and not _FITS else []
