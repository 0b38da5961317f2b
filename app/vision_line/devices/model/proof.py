# SPDX-License-Identifier: AGPL-3.0-or-later
"""A bundle's proof: a few small inputs, and what an engine that computes rightly makes of them.

One file, `proof.npz`, without pickles. Its arrays:

    pictures                      uint8 (n, h, w, 3) RGB: inputs before the factor 1/255, of any one size
    VARIANT/HxW/places            float32 (n, k, 6): the k best places of each image, see `agreement.Reference`;
                                  (n, k, 7) of rotated boxes
    VARIANT/HxW/masks             int8 (n, k, 36): the masks of these places, of a segmentation model alone
    VARIANT/HxW/prototypes        float16 (n, 32, 16): what they are made of, the same
    VARIANT/HxW/detections        float32 (m, 7 or 8): image, then what its decoded head holds at `agreement.FLOOR`

VARIANT names a `ModelVariant` and HxW an input shape: each pair has a reference of its own, the
output of that very file executed in float32. An image serves every shape: it is repeated or cut, see `shaped`.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vision_line.devices.model.agreement import MASK_SIDE, PROTOTYPE_SIDE, Reference, weakness
from vision_line.devices.model.masks import COEFFICIENTS
from vision_line.errors import ModelError
from vision_line.ports import ShapeHW

#: Largest file, in bytes: a proof travels with every bundle.
MAX_PROOF_BYTES = 240_000
_MAX_UNPACKED_BYTES = 64 * 2**20

Images = NDArray[np.uint8]  # (n, h, w, 3) RGB


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """Inputs, and the reference of each variant of the model at each input shape."""

    images: Images
    references: Mapping[tuple[str, ShapeHW], Reference]

    def reference(self, variant: str, shape_hw: ShapeHW) -> Reference | None:
        """Return what `variant` is measured by at `shape_hw`; None: there is nothing, or too little to tell by."""
        found = self.references.get((variant, shape_hw))
        return None if found is None or weakness(found) else found


def shaped(images: Images, shape_hw: ShapeHW) -> Images:
    """Return `images` as inputs (n, h, w, 3) of `shape_hw`: repeated to the right and down, and cut."""
    rows = np.arange(shape_hw[0]) % images.shape[1]
    columns = np.arange(shape_hw[1]) % images.shape[2]
    return np.ascontiguousarray(images[:, rows][:, :, columns])


@lru_cache(maxsize=4)
def drawn_images(count: int = 4, side: int = 320) -> Images:
    """Return images (count, side, side, 3) that never change, read-only, for models that bring none.

    Plates, bars and spots of any colour and size on a plain ground with a little grain: edges and areas at many scales.
    """
    images = np.stack([_drawn(np.random.default_rng(number), side) for number in range(count)])
    images.setflags(write=False)
    return images


def _drawn(rng: np.random.Generator, side: int) -> NDArray[np.uint8]:
    image = np.empty((side, side, 3), np.int16)
    image[:] = rng.integers(40, 216, 3)
    for _ in range(60):
        y, x = rng.integers(0, side, 2)
        height, width = (side * 2.0 ** -rng.uniform(1, 6, 2)).astype(int) + 2
        part = image[max(y - height // 2, 0) : y + height // 2, max(x - width // 2, 0) : x + width // 2]
        inside = np.ones(part.shape[:2], bool) if rng.random() < 0.6 else _spot(*part.shape[:2])
        part[inside] = rng.integers(0, 256, 3)
    grained: NDArray[np.uint8] = np.clip(image + rng.integers(-6, 7, image.shape), 0, 255).astype(np.uint8)
    return grained


def _spot(height: int, width: int) -> NDArray[np.bool_]:
    """Return which pixels of a rectangle lie in the ellipse within it."""
    ys, xs = (np.linspace(-1, 1, length) ** 2 for length in (height, width))
    return ys[:, None] + xs < 1


def pack_proof(proof: Proof) -> bytes:
    """Return the bytes of `proof.npz`.

    Raises:
        ModelError: it is larger than `MAX_PROOF_BYTES`, or a reference has too little in it to tell right from wrong.
    """
    arrays: dict[str, NDArray[np.generic]] = {"pictures": proof.images}
    for (variant, shape), reference in proof.references.items():
        if weak := weakness(reference):
            raise ModelError(f"proof: {variant} at {_named(shape)} proves nothing: {weak}")
        arrays[f"{variant}/{_named(shape)}/places"] = reference.places
        arrays[f"{variant}/{_named(shape)}/detections"] = reference.detections
        if reference.masks is not None:
            arrays[f"{variant}/{_named(shape)}/masks"] = reference.masks
        if reference.prototypes is not None:
            arrays[f"{variant}/{_named(shape)}/prototypes"] = reference.prototypes
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # a date of its own, so that equal proofs are equal bytes
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _npy(array))
    packed = content.getvalue()
    if len(packed) > MAX_PROOF_BYTES:
        raise ModelError(f"proof: expected {MAX_PROOF_BYTES} bytes at most, got {len(packed)}: fewer, smaller images")
    return packed


def unpack_proof(content: bytes) -> Proof:
    """Return the proof in the bytes of a `proof.npz`.

    Raises:
        ValueError: it is no proof.
    """
    try:
        arrays = _arrays(content)
        images = arrays.pop("pictures")
        _check(images, np.uint8, (None, None, None, 3))
        if not images.size:
            raise ValueError("no images")
        keys = {name.rpartition("/")[0] for name in arrays}
        references = {_key(key): _reference(arrays, key, len(images)) for key in keys}
    # A RuntimeError is zipfile's for damage that looks like a password or a later version of the format.
    except (KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as exc:
        raise ValueError(str(exc)) from exc
    return Proof(images.astype(np.uint8), references)


def _reference(arrays: Mapping[str, NDArray[np.generic]], key: str, images: int) -> Reference:
    places, detections = arrays[f"{key}/places"], arrays[f"{key}/detections"]
    columns = 7 if places.shape[-1:] == (7,) else 6
    _check(places, np.float32, (images, None, columns))
    _check(detections, np.float32, (None, 1 + columns))
    return Reference(
        places.astype(np.float32),
        detections.astype(np.float32),
        _masks(arrays, key, places.shape),
        _prototypes(arrays, key, images),
    )


def _masks(arrays: Mapping[str, NDArray[np.generic]], key: str, places: tuple[int, ...]) -> NDArray[np.int8] | None:
    masks = arrays.get(f"{key}/masks")
    if masks is None:
        return None
    _check(masks, np.int8, (*places[:2], MASK_SIDE**2))
    return masks.astype(np.int8)


def _prototypes(arrays: Mapping[str, NDArray[np.generic]], key: str, images: int) -> NDArray[np.float16] | None:
    prototypes = arrays.get(f"{key}/prototypes")
    if prototypes is None:  # of a bundle that was made before they were kept: its engines are proven by float execution
        return None
    _check(prototypes, np.float16, (images, COEFFICIENTS, PROTOTYPE_SIDE**2))
    return prototypes.astype(np.float16)


def _check(array: NDArray[np.generic], dtype: type, shape: tuple[int | None, ...]) -> None:
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        raise ValueError(f"expected {dtype.__name__} {shape}, found {array.dtype} {array.shape}")
    if not np.isfinite(array.astype(np.float32)).all():
        raise ValueError("expected numbers")


def _npy(array: NDArray[np.generic]) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def _arrays(content: bytes) -> dict[str, NDArray[np.generic]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_UNPACKED_BYTES:
            raise ValueError(f"expected {_MAX_UNPACKED_BYTES} bytes at most when unpacked")
        return {
            name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
        }


def _named(shape_hw: ShapeHW) -> str:
    return f"{shape_hw[0]}x{shape_hw[1]}"


def _key(key: str) -> tuple[str, ShapeHW]:
    variant, _, shape = key.rpartition("/")
    height, _, width = shape.partition("x")
    return variant, (int(height), int(width))
