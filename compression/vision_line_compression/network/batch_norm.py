# SPDX-License-Identifier: AGPL-3.0-or-later
"""Batch norm statistics estimated anew: what a pruned layer passes on is not what its followers' averages expect."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vision_line.errors import ModelError


def recalibrate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace all running means and variances of `model` by the plain average over `batches`, in place.

    Weights are not changed, nor are the layers' momenta. Only batch norm layers see training mode.

    Args:
        model: any model; left in eval mode.
        batches: network inputs (B, 3, h, w) float32, as the runtime prepares them, of training images.

    Returns:
        The number of images.

    Raises:
        ModelError: no batch norm layer, or no image: there is nothing to estimate.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not layers:
        raise ModelError("expected batch norm layers to recalibrate, found none: is the model fused?")
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative average: each batch counts the same
        layer.train()
    images = 0
    with torch.no_grad():
        for batch in batches:
            model(batch)
            images += len(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()
    if not images:
        raise ModelError("expected images to recalibrate batch norm with, found none")
    return images
