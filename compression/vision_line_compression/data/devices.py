# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a network computes: it lies on the CPU, and is on the training device only while it works there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

CPU = "cpu"


@contextmanager
def moved(model: nn.Module, device: str) -> Iterator[None]:
    """Have `model` on `device` while the block runs, and on the CPU after it; gradients move with their parameters."""
    if device == CPU:
        yield
        return
    model.to(device)
    try:
        yield
    finally:
        model.to(CPU)
