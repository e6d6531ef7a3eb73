#!/usr/bin/env python3
"""Golden values for test_train_pass.c: loss and gradients of a small llama, by PyTorch in double.

    python3 tests/engine/train_golden.py > tests/engine/train_golden.h

The model is written down here a second time, from the definitions (Touvron et al. 2023), with
torch's own matmul, softmax, silu and automatic differentiation; each document runs by itself, so
that packing is tested against not packing. Weights and tokens follow from the formulas `number` and
`documents`, which the test repeats.
"""
import math
import torch

torch.set_default_dtype(torch.float64)
L, D, H, G, C, F, V = 2, 48, 4, 2, 16, 64, 21
THETA, EPS, TIED = 10000.0, 1e-5, None


def number(i):
    """Exact in float: a multiple of 2^-24 in [-0.5, 0.5)."""
    return ((i * 2654435761 % 2**32) >> 8) / 2**24 - 0.5


def layout(tied):
    q, kv = H * C, G * C
    parts = [("token_embd", (V, D)), ("output_norm", (D,))]
    if not tied:
        parts.append(("output", (V, D)))
    for i in range(L):
        parts += [(f"blk.{i}.{n}", s) for n, s in (
            ("attn_norm", (D,)), ("attn_q", (q, D)), ("attn_k", (kv, D)), ("attn_v", (kv, D)),
            ("attn_output", (D, q)), ("ffn_norm", (D,)), ("ffn_gate", (F, D)), ("ffn_up", (F, D)),
            ("ffn_down", (D, F)))]
    return parts


def weights(tied):
    at, out = 0, {}
    for name, shape in layout(tied):
        n = math.prod(shape)
        values = [number(at + k) for k in range(n)]
        at += n
        t = torch.tensor(values).reshape(shape)
        t = 1 + t / 2 if len(shape) == 1 else t / 2
        out[name] = t.requires_grad_()
    return out


def documents():
    docs = []
    for d, (n, prompt) in enumerate(((6, 2), (2, 1), (71, 9), (33, 1))):
        tokens = [(i * i + 3 * i + 5 * d) % V for i in range(n)]
        weight = [0.0 if i < prompt else 1.0 + (i % 3) / 2 for i in range(n)]
        docs.append((tokens, weight))
    return docs


def rms(x, w):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS) * w


def rope(x):
    """x [T, heads, C]; pairs (2i, 2i+1)."""
    T = x.shape[0]
    angle = torch.arange(T)[:, None] * THETA ** (-torch.arange(0, C, 2) / C)[None, :]
    c, s = torch.cos(angle)[:, None, :], torch.sin(angle)[:, None, :]
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack((a * c - b * s, b * c + a * s), -1).flatten(-2)


def forward(w, tokens, tied):
    x = w["token_embd"][torch.tensor(tokens)]
    T = len(tokens)
    mask = torch.full((T, T), -torch.inf).triu(1)
    for i in range(L):
        p = f"blk.{i}."
        n = rms(x, w[p + "attn_norm"])
        q = rope((n @ w[p + "attn_q"].T).reshape(T, H, C))
        k = rope((n @ w[p + "attn_k"].T).reshape(T, G, C)).repeat_interleave(H // G, 1)
        v = (n @ w[p + "attn_v"].T).reshape(T, G, C).repeat_interleave(H // G, 1)
        s = torch.einsum("ihc,jhc->hij", q, k) / math.sqrt(C) + mask
        o = torch.einsum("hij,jhc->ihc", torch.softmax(s, -1), v).reshape(T, H * C)
        x = x + o @ w[p + "attn_output"].T
        n = rms(x, w[p + "ffn_norm"])
        x = x + (torch.nn.functional.silu(n @ w[p + "ffn_gate"].T) * (n @ w[p + "ffn_up"].T)) \
            @ w[p + "ffn_down"].T
    return rms(x, w["output_norm"]) @ w["token_embd" if tied else "output"].T


def case(tied):
    w = weights(tied)
    loss = total = entropy = 0.0
    for tokens, weight in documents():
        lp = torch.log_softmax(forward(w, tokens[:-1], tied), -1)
        for i in range(1, len(tokens)):
            if weight[i]:
                loss = loss - weight[i] * lp[i - 1, tokens[i]]
                total += weight[i]
                entropy -= float((lp[i - 1].exp() * lp[i - 1]).sum())
    loss.backward()
    print(f"    {{ {str(tied).lower()}, {float(loss):.12g}, {total:.12g}, {entropy:.12g}, {{")
    for name, _ in layout(tied):
        g = w[name].grad.flatten()
        k = torch.arange(g.numel())
        print(f"        {{ {float(g.norm()):.12g}, {float((g * (k % 17 - 8)).sum()):.12g}, "
              f"{float(g[g.numel() // 3]):.12g} }}, /* {name} */")
    print("    } },")


print("/* train_golden.h - written by train_golden.py with PyTorch", torch.__version__, "in double. */")
print("/* loss, sum of weights, entropy; of each parameter's gradient: norm, sum of (k % 17 - 8) g_k,")
print(" * and the value at a third of its length */")
for tied in (True, False):
    case(tied)
