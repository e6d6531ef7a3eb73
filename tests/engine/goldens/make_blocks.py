#!/usr/bin/env python3
"""What the gguf package (numpy) makes of quantised blocks: the table of test_blocks.c.

    python make_blocks.py                        (gguf, numpy)

Blocks are bytes of a linear congruential generator, seeded with the type's number in GGUF; a scale
that came out infinite or not a number has one exponent bit cleared. Printed: the FNV-1a hash of 40
blocks' values as f32, and the first and the last value as bits.
"""
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2],
          T.Q5_K: [0, 2], T.Q6_K: [208]}

for kind, offsets in SCALES.items():
    values, size = GGML_QUANT_SIZES[kind]
    state, raw = int(kind), bytearray()
    for _ in range(40 * size):
        state = (state * 1664525 + 1013904223) % 2**32
        raw.append(state >> 24)
    for block in range(0, len(raw), size):
        for at in offsets:
            if raw[block + at + 1] & 0x7c == 0x7c:
                raw[block + at + 1] ^= 0x40
    out = dequantize(np.frombuffer(bytes(raw), dtype=np.uint8), kind).astype("<f4")
    assert out.size == 40 * values and np.isfinite(out).all()
    h = 0xcbf29ce484222325
    for byte in out.tobytes():
        h = (h ^ byte) * 0x100000001b3 % 2**64
    bits = out.view("<u4").ravel()
    print(f'    {{ RM_{kind.name}, {int(kind)}, {size}, UINT64_C(0x{h:016x}), 0x{bits[0]:08x}, 0x{bits[-1]:08x} }},')
