#!/usr/bin/env python3
"""Tokens per second of Hugging Face generate() on this machine, for tests/gpu.sh.

    peer.py sample|beam N PROMPT GENERATE

A Qwen2.5-7B of random bf16 weights, one prompt of PROMPT random tokens, N returned sequences (or
beams) of GENERATE tokens each. Prints tokens per second of all N together, the best of two; exits 77
with a sentence where torch, transformers or a device is missing.
"""
import sys
import time

try:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM
except ImportError as missing:
    print(f"peer.py: {missing}", file=sys.stderr)
    sys.exit(77)
if not torch.cuda.is_available():
    print("peer.py: torch sees no CUDA device", file=sys.stderr)
    sys.exit(77)

kind, n, prompt, generate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
config = Qwen2Config(vocab_size=152064, hidden_size=3584, intermediate_size=18944,
                     num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
                     max_position_embeddings=8192, tie_word_embeddings=False,
                     torch_dtype=torch.bfloat16)
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = Qwen2ForCausalLM(config).eval()
tokens = torch.randint(1000, 150000, (1, prompt), device="cuda")
how = ({"do_sample": True, "num_return_sequences": n, "top_k": 0} if kind == "sample"
       else {"do_sample": False, "num_beams": n, "num_return_sequences": n})
best = 0.0
for turn in range(3):
    torch.cuda.synchronize()
    start = time.time()
    with torch.no_grad():
        model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=generate,
                       min_new_tokens=generate, pad_token_id=0, eos_token_id=None, **how)
    torch.cuda.synchronize()
    rate = n * generate / (time.time() - start)
    best = rate if turn and rate > best else best
print(f"{best:.1f}")
