"""Encodes matrices in the formats of GGUF.

What the package `gguf` can encode is rounded by it. The other block formats are filled with random bits, every pattern
of scale, minimum and high bit among them, and their factors are then set so that values have the wanted size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize, quantize


class RandomFormat(NamedTuple):
    """Where a block's f16 factors lie, in bytes; `centre` is the minimum's factor in units of the scale's."""

    scale_at: int
    minimum_at: int | None = None
    centre: float = 0.0


RANDOM_FORMATS = {
    "Q2_K": RandomFormat(80, 82, 1.5),
    "Q3_K": RandomFormat(108),
    "Q4_K": RandomFormat(0, 2, 7.5),
    "Q5_K": RandomFormat(0, 2, 15.5),
    "Q6_K": RandomFormat(208),
    "IQ4_NL": RandomFormat(0),
}


def encode(values: np.ndarray, format_name: str, generator: np.random.Generator) -> np.ndarray:
    """Rows [n, inputs] → their stored form: floats, or bytes [n, bytes of a row]; random formats keep only the size."""
    kind = GGMLQuantizationType[format_name]
    if format_name not in RANDOM_FORMATS:
        return quantize(values, kind)
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = generator.integers(0, 256, (values.size // elements, size), dtype=np.uint8)
    spread = generator.uniform(0.5, 1.5, len(blocks))
    _set_factors(blocks, RANDOM_FORMATS[format_name], 2.0**-8 * spread)
    wanted = values.std() / dequantize(blocks, kind).std()
    _set_factors(blocks, RANDOM_FORMATS[format_name], 2.0**-8 * spread * wanted)
    return blocks.reshape(len(values), -1)


def _set_factors(blocks: np.ndarray, form: RandomFormat, scales: np.ndarray) -> None:
    _put(blocks, form.scale_at, scales)
    if form.minimum_at is not None:
        _put(blocks, form.minimum_at, scales * form.centre)


def _put(blocks: np.ndarray, at: int, values: np.ndarray) -> None:
    blocks[:, at : at + 2] = values.astype(np.float16)[:, None].view(np.uint8)
