# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the build of an engine takes of a GPU on which cameras are decoded and inspected meanwhile.

Memory: the library would take all that is free to try kernels with; what cameras that come then need would be missing.
Time: it times kernels on the default stream unless it is told otherwise, and FFmpeg's decoder copies its frames there,
which would wait behind them. So it gets a stream of its own, of the lowest priority: of two kernels that wait, one that
inspects or decodes goes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from vision_line.devices.cuda.context import GpuContext, translated_errors
from vision_line.devices.cuda.memory import open_stream
from vision_line.devices.tensorrt.engine_manifest import BuildRoom
from vision_line.errors import DeviceError

#: Kernels that want more are for larger networks than cameras are inspected with.
MOST_WORKSPACE_BYTES = 2**30
#: Of the memory that is free when the build begins.
WORKSPACE_SHARE = 0.5


@contextmanager
def room_for_build(gpu: GpuContext) -> Iterator[BuildRoom]:
    """Make `gpu` current in this thread, and give what a build may take of it.

    Raises:
        DeviceError: the GPU does not say how much memory is free, or gives no stream.
    """
    with ExitStack() as undo:
        with translated_errors(DeviceError, "an engine cannot be built"):
            gpu.enter()
            workspace_bytes = min(MOST_WORKSPACE_BYTES, int(gpu.free_bytes() * WORKSPACE_SHARE))
            room = BuildRoom(workspace_bytes, int(open_stream(gpu, undo, urgent=False).handle))
        yield room
