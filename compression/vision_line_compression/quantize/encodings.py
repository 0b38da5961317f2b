# SPDX-License-Identifier: AGPL-3.0-or-later
"""The encodings of a quantized file that engines take: signed, and unsigned with weights of 7 bits.

Both mean the same kind of arithmetic; what differs is which instructions of a processor compute it exactly:

    signed      int8 activations and weights. Right where a processor multiplies such bytes and adds in 32 bits: GPUs,
                and x86 with VNNI or AMX.
    unsigned    uint8 activations around 128. x86 without VNNI multiplies unsigned by signed bytes and adds two products
                in 16 bits: 2 * 255 * 64 = 32640 still fits, 2 * 255 * 127 does not. So the weights have 7 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ActivationEncoding:
    """How values are stored; `weight_codes` are the least and the largest code of a weight, a zero point of 0 implied.

    `name` is the value of the file's metadata entry `quantization`, and of a bundle's.
    """

    name: str
    activation_zero: np.int8 | np.uint8
    weight_codes: tuple[int, int]


SIGNED = ActivationEncoding("qdq-s8-symmetric", np.int8(0), (-128, 127))
UNSIGNED = ActivationEncoding("qdq-u8-7bit", np.uint8(128), (-64, 63))
