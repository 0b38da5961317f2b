# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bundles with a proof, made in a test: each form's file with the reference of its float execution, or a false one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from vision_line.devices.cpu.openvino_engine import float_outputs
from vision_line.devices.model.agreement import Reference, reference_of
from vision_line.devices.model.model import open_model
from vision_line.devices.model.proof import Proof, drawn_images, pack_proof, shaped
from vision_line.ports import ShapeHW

CLASSES = ("red", "green", "blue")


def write_proven_bundle(
    folder: Path,
    variants: Mapping[str, bytes],
    shapes: tuple[ShapeHW, ...] = ((64, 128),),
    *,
    false: Container[tuple[str, ShapeHW]] = (),
    names: tuple[str, ...] = CLASSES,
    images: int = 3,
    gpu_variants: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """Write a bundle of the files in `variants`, its own first, and in `gpu_variants`.

    References in `false` have the classes mixed up.
    """
    folder.mkdir()
    names_of = (tuple(variants), tuple(gpu_variants))
    files = {f"{name}.onnx": content for name, content in (*variants.items(), *gpu_variants.items())}
    _write(folder, files, names_of, shapes, names, None)
    model, drawn = open_model(folder), drawn_images(images, 96)
    references: dict[tuple[str, ShapeHW], Reference] = {}
    for variant in (*model.variants, *model.gpu_variants):
        for shape in shapes:
            outputs = float_outputs(model, variant.path, shaped(drawn, shape))
            if (variant.name, shape) in false:
                outputs = [np.concatenate([output[:4], np.roll(output[4:], 1, axis=0)]) for output in outputs]
            references[variant.name, shape] = reference_of(model.head, len(names), model.nms_iou, outputs)
    _write(folder, files, names_of, shapes, names, pack_proof(Proof(drawn, references)))
    return folder


def _write(
    folder: Path,
    files: Mapping[str, bytes],
    names_of: tuple[tuple[str, ...], tuple[str, ...]],
    shapes: tuple[ShapeHW, ...],
    names: tuple[str, ...],
    proof: bytes | None,
) -> None:
    (own, *variants), gpu_variants = names_of
    hashed = {name: {"file": name, "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()}
    document: dict[str, Any] = {
        "bundle_version": 1,
        "name": "tiny",
        "task": "detect",
        "classes": names,
        "stride": 32,
        "head": "yolov8",
        "model": {
            **hashed[f"{own}.onnx"],
            "precision": "int8",
            "quantization": own,
            "input": {"name": "images", "dynamic": True},
            "forms": [{"form": variant, **hashed[f"{variant}.onnx"]} for variant in variants],
            "gpu_variants": [{"form": variant, **hashed[f"{variant}.onnx"]} for variant in gpu_variants],
        },
        "input_shapes_hw": shapes,
        "preprocessing": {"definition": 1},
        "thresholds": {"score": 0.3, "nms_iou": 0.6},
    }
    if proof is not None:
        (folder / "proof.npz").write_bytes(proof)
        document["proof"] = {"file": "proof.npz", "sha256": hashlib.sha256(proof).hexdigest()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / "bundle.json").write_text(json.dumps(document))
