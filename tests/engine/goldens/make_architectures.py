#!/usr/bin/env python3
"""Small random models of each architecture, and what transformers computes with them in float64.

    python make_architectures.py [FOLDER]        (torch, transformers, tokenizers; FOLDER: this one)

For each row of MODELS a folder as save_pretrained writes it (bf16 weights, 2 layers, sizes that
divide nothing evenly) with a tokenizer of bytes and a few merges, and the file logprobs.txt:

    prompt 3 17 240 ...          token ids
    0 7 41 v0 v7 ...             the last position's log-probabilities of ids 0, 7, 14, ... (41 of them)

The model is evaluated in float64, also where transformers itself goes back to float32 (norms,
softmax, rotary angles). Prompts are long enough to leave the window and the
original context behind.
"""
import contextlib
import os
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

COMMON = dict(num_hidden_layers=2, hidden_size=36, intermediate_size=52, num_attention_heads=6,
              num_key_value_heads=2, head_dim=10, vocab_size=283, max_position_embeddings=256,
              rms_norm_eps=1e-5, bos_token_id=256, eos_token_id=257, pad_token_id=None)
MODELS = {
    "llama": dict(model_type="llama", rope_theta=5000.0, tie_word_embeddings=False),
    "llama3": dict(model_type="llama", rope_theta=500.0, tie_word_embeddings=True,
                   rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                                     high_freq_factor=4.0, original_max_position_embeddings=32)),
    "llama_linear": dict(model_type="llama", rope_theta=10000.0, tie_word_embeddings=True,
                         attention_bias=True, rope_scaling=dict(rope_type="linear", factor=4.0)),
    "mistral": dict(model_type="mistral", rope_theta=10000.0, tie_word_embeddings=False,
                    sliding_window=13),
    "qwen2": dict(model_type="qwen2", rope_theta=1000.0, tie_word_embeddings=True,
                  num_key_value_heads=3),
    "qwen2_yarn": dict(model_type="qwen2", rope_theta=10000.0, tie_word_embeddings=True,
                       rope_scaling=dict(rope_type="yarn", factor=4.0,
                                         original_max_position_embeddings=64)),
    "qwen3": dict(model_type="qwen3", rope_theta=1000.0, tie_word_embeddings=True,
                  head_dim=14, num_key_value_heads=1),
    "mistral_yarn": dict(model_type="mistral", rope_theta=10000.0, tie_word_embeddings=True,
                         sliding_window=None,
                         rope_scaling=dict(rope_type="yarn", factor=4.0, mscale=0.8, mscale_all_dim=0.5,
                                           original_max_position_embeddings=64)),
    "llama_dynamic": dict(model_type="llama", rope_theta=10000.0, tie_word_embeddings=True,
                          max_position_embeddings=64,
                          rope_scaling=dict(rope_type="dynamic", factor=4.0)),
    "llama_longrope": dict(model_type="llama", rope_theta=10000.0, tie_word_embeddings=True,
                           rope_scaling=dict(rope_type="longrope", original_max_position_embeddings=64,
                                             short_factor=[1.0, 1.05, 1.1, 1.3, 1.5],
                                             long_factor=[1.0, 1.2, 2.1, 3.5, 4.25])),
}
PROMPTS = [[5], [256, 72, 101, 108, 108, 111], [(7 * i * i + 3 * i) % 283 for i in range(29)],
           [(31 * i + i * i * i) % 283 for i in range(150)]]


def tokenizer(folder):
    letters = ByteLevel.alphabet()
    pieces = sorted(letters)
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("\u0120", "w"), ("1", "2")]
    vocab = {p: i for i, p in enumerate(pieces)}
    names = ["<bos>", "<eos>", "<think>"]
    base = len(pieces) + len(names)
    for i, (a, b) in enumerate(merges):
        vocab[a + b] = base + i
    t = Tokenizer(models.BPE(vocab=vocab | {n: len(pieces) + i for i, n in enumerate(names)},
                             merges=merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(names)
    fast = PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<bos>", eos_token="<eos>")
    fast.save_pretrained(folder)


@contextlib.contextmanager
def double():
    """transformers asks for float32 in norms, softmax and rotary angles: here that is float64."""
    to, flt, softmax = torch.Tensor.to, torch.Tensor.float, torch.nn.functional.softmax
    wide = lambda x: torch.float64 if x in (torch.float32, float) else x
    torch.Tensor.to = lambda self, *a, **k: to(
        self, *(wide(x) if isinstance(x, (torch.dtype, type)) else x for x in a),
        **{n: wide(v) if n == "dtype" else v for n, v in k.items()})
    torch.Tensor.float = lambda self, *a, **k: self.double()
    torch.nn.functional.softmax = lambda x, **k: softmax(x.double(), dim=k["dim"])
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.Tensor.to, torch.Tensor.float, torch.nn.functional.softmax = to, flt, softmax
        torch.set_default_dtype(torch.float32)


def inverse_frequencies(config, length):
    if config.rope_parameters["rope_type"] == "default":
        theta, dim = config.rope_parameters["rope_theta"], config.head_dim
        return theta ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim), 1.0
    return ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config, torch.device("cpu"), seq_len=length)


class Rotary(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, x, position_ids, *_, **__):
        """As in one pass over the whole prompt."""
        inverse, self.factor = inverse_frequencies(self.config, int(position_ids.max()) + 1)
        assert inverse.dtype == torch.float64
        angles = position_ids[..., None].double() * inverse
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos() * self.factor, angles.sin() * self.factor


def main(folder):
    for seed, (name, keys) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        keys = COMMON | keys
        scaling, theta = keys.pop("rope_scaling", {"rope_type": "default"}), keys.pop("rope_theta")
        config = AutoConfig.for_model(**keys, rope_parameters=scaling | {"rope_theta": theta},
                                      attn_implementation="eager")
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for key, p in model.named_parameters():  # spread widely, so that nothing is negligible
                p.copy_(1 + 0.3 * torch.randn_like(p) if "norm" in key
                        else torch.randn_like(p) * (0.5 if p.ndim == 1 else p.shape[-1] ** -0.5)
                        * (4 if "q_proj.weight" in key else 1))
        model = model.to(torch.bfloat16)
        out = os.path.join(folder, name)
        model.save_pretrained(out, max_shard_size="30KB" if name == "mistral" else "1GB")
        tokenizer(out)
        model = model.double()
        with double():
            model.model.rotary_emb = Rotary(model.config)
        with open(os.path.join(out, "logprobs.txt"), "w") as f:
            for prompt in PROMPTS:
                with torch.no_grad(), double():
                    values = model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1).tolist()
                f.write("prompt " + " ".join(map(str, prompt)) + "\n")
                f.write("0 7 41 " + " ".join(f"{x:.12g}" for x in values[:281:7]) + "\n")


main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
