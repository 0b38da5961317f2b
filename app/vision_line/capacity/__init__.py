# SPDX-License-Identifier: AGPL-3.0-or-later
"""How many cameras a GPU takes, calculated from published constants: a model, not a measurement. Pure."""

from vision_line.capacity.constants import CONSTANTS, NVDEC_FPS, Basis, Codec, Constant
from vision_line.capacity.estimate import Estimate, Resource, Scenario, batch_s, estimate, pipeline
from vision_line.capacity.gpus import GPUS, GpuModel, find_gpu
from vision_line.capacity.serving import Means, ServingPipeline, solve

__all__ = [
    "CONSTANTS",
    "GPUS",
    "NVDEC_FPS",
    "Basis",
    "Codec",
    "Constant",
    "Estimate",
    "GpuModel",
    "Means",
    "Resource",
    "Scenario",
    "ServingPipeline",
    "batch_s",
    "estimate",
    "find_gpu",
    "pipeline",
    "solve",
]
