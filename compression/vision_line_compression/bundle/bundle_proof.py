# SPDX-License-Identifier: AGPL-3.0-or-later
"""Gives a bundle its proof, and the variants of its model for processors without VNNI and for GPUs.

The references are what ONNX Runtime makes of each file with all its optimizations off: every Q/DQ pair is executed in
float32 as it is written, by another library than those that are to be proven.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vision_line.devices.cpu.openvino_engine import float_outputs
from vision_line.devices.cuda.proven_engine import FP16_TOLERANCE
from vision_line.devices.model.agreement import Reference, Tolerance, compare, reference_of, weakness
from vision_line.devices.model.bundle import BUNDLE_FILE, WHOLLY_FLOAT16, Bundle, BundleProof, BundleVariant
from vision_line.devices.model.heads import HeadOutput, SegmentOutput
from vision_line.devices.model.model import Model, open_model
from vision_line.devices.model.proof import MAX_PROOF_BYTES, Images, Proof, drawn_images, pack_proof, shaped
from vision_line.devices.model.tasks import GPU_TASKS
from vision_line.devices.preprocessing.definition import normalise
from vision_line.errors import ModelError
from vision_line.ports import ShapeHW
from vision_line.simulator.scene import FPS, ScenePlan, draw_scene
from vision_line_compression.bundle.bundle_writer import describe_bundle, replace_files
from vision_line_compression.bundle.float_file import write_wholly_float16
from vision_line_compression.network.onnx_file import load_model
from vision_line_compression.quantize.encodings import SIGNED, UNSIGNED
from vision_line_compression.quantize.float16 import (
    FLOAT16_ENCODING,
    WEIGHTS_ENCODING,
    write_float16,
    write_weights_float16,
)
from vision_line_compression.quantize.onnx_session import OnnxSession
from vision_line_compression.quantize.unsigned import write_unsigned

logger = logging.getLogger(__name__)

UNSIGNED_FILE, FLOAT16_FILE, WEIGHTS_FILE = "model.u8-7bit.onnx", "model.s8-fp16.onnx", "model.w8-fp16.onnx"
WHOLLY_FLOAT16_FILE = "model.fp16.onnx"
PROOF_FILE = "proof.npz"
#: The variants that a bundle in the canonical encoding gets, and what writes those that are made of its own file.
_FILES = {
    UNSIGNED.name: UNSIGNED_FILE,
    FLOAT16_ENCODING: FLOAT16_FILE,
    WEIGHTS_ENCODING: WEIGHTS_FILE,
    WHOLLY_FLOAT16: WHOLLY_FLOAT16_FILE,
}
_WRITERS: dict[str, Callable[[Path, Path], Path]] = {
    UNSIGNED.name: write_unsigned,
    FLOAT16_ENCODING: write_float16,
    WEIGHTS_ENCODING: write_weights_float16,
}

ImageRGB = NDArray[np.uint8]  # (h, w, 3)

#: Height and width of every image.
SIDE = 320

#: Of the drawn candidates.
_SCENES, _FRAMES_A_SCENE, _PLATES = 5, 4, 12
_SPEED_PX_S = 100.0
_BELT_PX = 1400

#: Values are multiples of this, and half of it: grain and lenses' softness would make a proof ten times as large.
_STEP = 16

#: Images of a proof. More find no more: each engine runs all of them before it inspects.
IMAGES = 4

#: What is left of a proof's size when each variant and shape has its reference.
_MAX_IMAGE_BYTES = MAX_PROOF_BYTES * 5 // 9

#: A place counts as found from this score on, when images are chosen.
_TELLING_SCORE = 0.05


@dataclass(frozen=True, slots=True)
class Proven:
    """What was added to a bundle, and why the FP16 variant was not although its float file was there.

    `variants` are the added ones with their files' sizes in bytes; `detections` are those of the model's own variant at
    its first input shape.
    """

    variants: Mapping[str, int] = field(default_factory=dict)
    proof_bytes: int = 0
    detections: int = 0
    left_out: str = ""

    def __str__(self) -> str:
        """Say it in words."""
        without = f"; without {WHOLLY_FLOAT16_FILE}: {self.left_out}" if self.left_out else ""
        if not self.proof_bytes:
            return f"has its variants and its proof already{without}"
        files = "".join(f"{_FILES[name]} ({name}, {nbytes} bytes) and " for name, nbytes in self.variants.items())
        return f"added {files}{PROOF_FILE} ({self.proof_bytes} bytes, {self.detections} detections){without}"


def prove_bundle(folder: Path, candidates: Sequence[ImageRGB] | None = None, float_onnx: Path | None = None) -> Proven:
    """Add the other variants to a bundle with a model in the canonical encoding, and a proof of all variants to any.

    These are the unsigned one for processors without VNNI, and for GPUs, where these run such models, one with float16
    between its pairs and one with INT8 weights alone; and where `float_onnx`, the file that was quantized, is given,
    that one in float16, unless it finds other things. What the bundle has is left as it is; its model file is never
    touched. `candidates` are what the proof's images are chosen from where there is none yet, None: drawn ones.

    Raises:
        ModelError: no bundle, a model that cannot be executed or that finds too little, or a folder that cannot be
            written.
    """
    model = open_model(folder)
    if model.bundle is None:
        raise ModelError(f"{folder}: expected a bundle's folder")
    files = {variant.name: variant.path for variant in (*model.variants, *model.gpu_variants)}
    is_canonical, for_gpus = SIGNED.name in files, model.head.task in GPU_TASKS
    wanted = _WRITERS if for_gpus else (UNSIGNED.name,)
    missing = [name for name in wanted if is_canonical and name not in files]
    left_out = "" if float_onnx is None or for_gpus else f"GPUs do not run models for the task {str(model.head.task)!r}"
    wants_float16 = float_onnx is not None and for_gpus and is_canonical and WHOLLY_FLOAT16 not in files
    added: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory(prefix="vision-line-prove-") as work:
        for name in missing:
            files[name] = _WRITERS[name](files[SIGNED.name], Path(work) / _FILES[name])
        proof = model.proof
        if proof is None:
            proof = make_proof(model, files, drawn_candidates() if candidates is None else candidates)
        elif missing:
            proof = _extended(model, proof, {name: files[name] for name in missing})
        if float_onnx is not None and wants_float16:
            path = write_wholly_float16(model, float_onnx, Path(work) / WHOLLY_FLOAT16_FILE)
            extended = _extended(model, proof, {WHOLLY_FLOAT16: path})
            left_out = _difference(model, extended, path) or _unfit(extended)
            if not left_out:
                missing.append(WHOLLY_FLOAT16)
                files[WHOLLY_FLOAT16], proof = path, extended
        added |= {_FILES[name]: files[name].read_bytes() for name in missing}
    if proof is model.proof:
        return Proven(left_out=left_out)
    sizes = {name: len(added[_FILES[name]]) for name in missing}
    added[PROOF_FILE] = _packed(folder, proof)
    replace_files(model.path.parent, added | {BUNDLE_FILE: _described(model.bundle, added)})
    open_model(folder)
    first = proof.references[model.variants[0].name, model.input_shapes_hw[0]]
    return Proven(sizes, len(added[PROOF_FILE]), len(first.detections), left_out)


def make_proof(model: Model, files: Mapping[str, Path], candidates: Sequence[ImageRGB]) -> Proof:
    """Return a proof of `files`, the variants of `model` by name and its own first, with the most telling `candidates`.

    Raises:
        ModelError: a file cannot be executed at one of the model's shapes.
    """
    variants = {name: OnnxSession(load_model(path), fuse=False) for name, path in files.items()}
    own, shape = next(iter(variants.values())), model.input_shapes_hw[0]
    seen = [_reference(model, [output]) for output in _outputs(own, np.stack(candidates), shape)]
    usable = _steady(model, next(iter(files.values())), seen, candidates)
    chosen = most_telling([seen[number] for number in usable])
    images = _small_enough(np.stack([candidates[usable[number]] for number in chosen]))
    return Proof(images, _references(model, images, variants))


def _references(
    model: Model, images: Images, variants: Mapping[str, OnnxSession]
) -> dict[tuple[str, ShapeHW], Reference]:
    return {
        (name, shape): _reference(model, _outputs(variant, images, shape))
        for name, variant in variants.items()
        for shape in model.input_shapes_hw
    }


def _extended(model: Model, proof: Proof, files: Mapping[str, Path]) -> Proof:
    """Return `proof` with the references of more files on its images."""
    variants = {name: OnnxSession(load_model(path), fuse=False) for name, path in files.items()}
    return Proof(proof.images, {**proof.references, **_references(model, proof.images, variants)})


def _unfit(proof: Proof) -> str:
    """Say why `proof` cannot be stored; "" where it can: nothing that is there already is given up for one more."""
    try:
        pack_proof(proof)
    except ModelError as exc:
        return str(exc)
    return ""


def _difference(model: Model, proof: Proof, path: Path) -> str:
    """Say where the FP16 variant at `path` finds other things than the bundle's own file; "" where it does not.

    Another model's float file has the same inputs and outputs, and would pass every proof made of itself.
    """
    session = OnnxSession(load_model(path), fuse=False)
    for shape in model.input_shapes_hw:
        own = proof.reference(model.variants[0].name, shape)
        if own is None:
            return f"the bundle's proof says nothing of {shape[1]}x{shape[0]}"
        outputs = _outputs(session, proof.images, shape)
        found = compare(own, model.head, len(model.classes), model.nms_iou, outputs, FP16_TOLERANCE)
        if not found.holds:
            return f"it does not find what the model finds at {shape[1]}x{shape[0]}: {found}"
    return ""


def _outputs(session: OnnxSession, images: NDArray[np.uint8], shape_hw: ShapeHW) -> list[HeadOutput]:
    """Return the output of each of `images` (n, h, w, 3) at an input shape, without the batch axis."""
    return [_head_output(session.run(normalise(image)[0])) for image in shaped(images, shape_hw)]


def _head_output(found: Sequence[NDArray[np.float32]]) -> HeadOutput:
    places, *prototypes = (np.asarray(output[0], np.float32) for output in found)
    return SegmentOutput(places, prototypes[0]) if prototypes else places


def _steady(model: Model, path: Path, seen: Sequence[Reference], candidates: Sequence[ImageRGB]) -> list[int]:
    """Return the numbers of the candidates on which OpenVINO, in float as well, agrees with `seen`; of too few, all.

    What a model finds in the others hangs on rounding, which no two engines do alike.
    """
    others = float_outputs(model, path, shaped(np.stack(candidates), model.input_shapes_hw[0]))
    pairs = zip(seen, others, strict=True)
    steady = [number for number, (one, other) in enumerate(pairs) if _agrees(model, one, [other])]
    if len(steady) >= IMAGES:
        return steady
    logger.warning(
        "%s: on %d of %d images two float executions, by ONNX Runtime and OpenVINO, find different things: what the "
        "model finds hangs on rounding, and engines may fail its proof",
        path,
        len(seen) - len(steady),
        len(seen),
    )
    return list(range(len(seen)))


def _agrees(model: Model, reference: Reference, outputs: Sequence[HeadOutput]) -> bool:
    return compare(reference, model.head, len(model.classes), model.nms_iou, outputs, Tolerance()).holds


def most_telling(seen: Sequence[Reference]) -> list[int]:
    """Return the numbers of the images, each with a reference in `seen`, in which the model finds most.

    Each shows something else than the one before; others are taken only where there is no second such.
    """
    order = sorted(range(len(seen)), key=lambda number: _signal(seen[number]), reverse=True)
    chosen = order[:1]
    others: list[int] = []
    for number in order[1:]:
        pair = np.concatenate([seen[chosen[-1]].places, seen[number].places])
        alike = weakness(Reference(pair, np.empty((0, 7), np.float32)))
        (others if alike else chosen).append(number)
    return (chosen if len(chosen) > 1 else [*chosen, *others])[:IMAGES]


def _small_enough(images: Images) -> Images:
    """Return `images`, or their upper left parts where the whole ones would need too many bytes."""
    while len(zlib.compress(images.tobytes(), 9)) > _MAX_IMAGE_BYTES:
        side = images.shape[1] * 3 // 4
        images = images[:, :side, :side]
    return np.ascontiguousarray(images)


def _reference(model: Model, outputs: Sequence[HeadOutput]) -> Reference:
    return reference_of(model.head, len(model.classes), model.nms_iou, outputs)


def _signal(reference: Reference) -> tuple[int, float]:
    scores = reference.places[..., -2]  # behind the box, upright or rotated
    return int((scores >= _TELLING_SCORE).sum()), float(scores.sum())


def _packed(folder: Path, proof: Proof) -> bytes:
    try:
        return pack_proof(proof)
    except ModelError as exc:
        raise ModelError(f"{folder}: {exc}") from exc


def _described(bundle: Bundle, added: Mapping[str, bytes]) -> bytes:
    """Return the bundle's description with the files that were added."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in added.items()}
    made = {
        name: (BundleVariant(form=name, file=file, sha256=hashes[file]),)
        for name, file in _FILES.items()
        if file in hashes
    }
    changes = {
        "forms": (*bundle.model.forms, *made.get(UNSIGNED.name, ())),
        "gpu_variants": (
            *bundle.model.gpu_variants,
            *made.get(FLOAT16_ENCODING, ()),
            *made.get(WEIGHTS_ENCODING, ()),
            *made.get(WHOLLY_FLOAT16, ()),
        ),
    }
    model = bundle.model.model_copy(update=changes)
    proof = BundleProof(file=PROOF_FILE, sha256=hashes[PROOF_FILE])
    return describe_bundle(bundle.model_copy(update={"model": model, "proof": proof}))


@lru_cache(maxsize=1)
def drawn_candidates() -> tuple[ImageRGB, ...]:
    """Return images of drawn boards with many defects, and of plates, bars and spots; the same on every machine."""
    boards = (image for seed in range(_SCENES) for image in _boards(seed))
    return tuple(_simplified(image) for image in (*boards, *drawn_images(_PLATES, SIDE)))


def given_candidates(inputs: Iterable[NDArray[np.float32]]) -> tuple[ImageRGB, ...]:
    """Return the middle of each network input (3, h, w), 0..1; smaller ones are repeated."""
    return tuple(_simplified(_middle(np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8))) for image in inputs)


def _boards(seed: int) -> Iterator[ImageRGB]:
    """Yield images of one belt, two frames above each other."""
    frames = round(_BELT_PX * FPS / _SPEED_PX_S)
    scene = draw_scene(
        ScenePlan(seed=seed, frames=frames, boards=4, speed_px_s=_SPEED_PX_S, defective_share=1.0, most_defects=6)
    )
    for number in range(_FRAMES_A_SCENE):
        start = number * frames // _FRAMES_A_SCENE
        pair = [scene.render(index)[:, :, ::-1] for index in (start, start + frames // (2 * _FRAMES_A_SCENE))]
        half = [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in pair]
        yield _middle(np.concatenate(half).astype(np.uint8))


def _middle(image: ImageRGB) -> ImageRGB:
    rows, columns = (np.arange(SIDE) + max(0, (size - SIDE) // 2) for size in image.shape[:2])
    return np.asarray(image[rows % image.shape[0]][:, columns % image.shape[1]], np.uint8)


def _simplified(image: ImageRGB) -> ImageRGB:
    smooth = cv2.medianBlur(np.ascontiguousarray(image), 3)
    return np.asarray(smooth // _STEP * _STEP + _STEP // 2, np.uint8)
