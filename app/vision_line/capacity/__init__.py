# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cameras a GPU takes, calculated from published constants: a model, not a measurement. Pure."""

from vision_line.capacity.constants import CONSTANTS, NVDEC_FPS, Basis, Codec, Constant
from vision_line.capacity.gpus import GPUS, Gpu, find_gpu
from vision_line.capacity.model import Estimate, Resource, Scenario, batch_s, estimate, pipeline
from vision_line.capacity.serving import Means, Pipeline, solve

__all__ = [
    "CONSTANTS",
    "GPUS",
    "NVDEC_FPS",
    "Basis",
    "Codec",
    "Constant",
    "Estimate",
    "Gpu",
    "Means",
    "Pipeline",
    "Resource",
    "Scenario",
    "batch_s",
    "estimate",
    "find_gpu",
    "pipeline",
    "solve",
]
