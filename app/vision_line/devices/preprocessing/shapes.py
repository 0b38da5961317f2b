# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which input shapes a set of cameras is inspected at: few, rectangular, following the cameras' aspect ratios."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations

from vision_line.devices.model.model import Model
from vision_line.devices.preprocessing.letterbox import Letterbox
from vision_line.ports import ShapeHW

MAX_INPUT_SHAPES = 3

#: Stand in for cameras whose size is not known yet: landscape 16:9 and 4:3, portrait 9:16.
USUAL_SIZES_WH = ((1920, 1080), (1280, 960), (1080, 1920))

#: Candidates that are combined; more distinct aspect ratios than this are served by the most frequent ones.
MAX_CANDIDATES = 16

SizeWH = tuple[int, int]


def plan_input_shapes(model: Model, sizes_wh: Iterable[SizeWH], limit: int = MAX_INPUT_SHAPES) -> tuple[ShapeHW, ...]:
    """Return at most `limit` shapes for cameras of `sizes_wh` (one entry a camera; empty: the usual sizes).

    A bundle's evaluated shapes are the only choice where there are any; a dynamic model without bundle gets, for each
    aspect ratio, the smallest multiple of its stride that holds the frame with its longer side at the exported
    size (Ultralytics' rectangular inference); a static model has its one shape.
    """
    cameras = Counter(sizes_wh) or Counter(USUAL_SIZES_WH)
    candidates = _candidates(model, cameras)
    best = {size: max(Letterbox(size, shape).scale for shape in candidates) for size in cameras}

    def total_cost(shapes: Sequence[ShapeHW]) -> float:
        return sum(n * min(_cost(size, shape, best[size]) for shape in shapes) for size, n in cameras.items())

    chosen = min(combinations(candidates, min(limit, len(candidates))), key=total_cost)
    used = {closest_shape(size, chosen) for size in cameras}
    return tuple(shape for shape in chosen if shape in used)


@lru_cache(maxsize=1024)
def closest_shape(size_wh: SizeWH, shapes: tuple[ShapeHW, ...]) -> ShapeHW:
    """Return the one of `shapes` that suits a frame of `size_wh` best; of equals the first."""
    best_scale = max(Letterbox(size_wh, shape).scale for shape in shapes)
    return min(shapes, key=lambda shape: _cost(size_wh, shape, best_scale))


def _cost(size_wh: SizeWH, shape: ShapeHW, best_scale: float) -> float:
    """Return the padded share (time for nothing) plus the share of scale that is lost (small defects for nothing)."""
    box = Letterbox(size_wh, shape)
    return box.waste + 1.0 - box.scale / best_scale


def _candidates(model: Model, cameras: Counter[SizeWH]) -> list[ShapeHW]:
    if model.bundle is not None or not model.dynamic:
        return list(model.input_shapes_hw)
    side = max(model.input_shapes_hw[0])
    wanted: Counter[ShapeHW] = Counter()
    for size, n in cameras.items():
        wanted[_rectangle(size, side, model.stride)] += n
    return [shape for shape, _ in wanted.most_common(MAX_CANDIDATES)]


def _rectangle(size_wh: SizeWH, side: int, stride: int) -> ShapeHW:
    width, height = Letterbox(size_wh, (side, side)).content_wh
    return -(-height // stride) * stride, -(-width // stride) * stride
