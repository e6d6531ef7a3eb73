#!/usr/bin/env python3
"""Small vocabularies of the kinds that tokenizer.json files describe, and what the tokenizers
package makes of some texts.

    python make_tokenizers.py [FOLDER]           (tokenizers; FOLDER: this one)

For each kind a folder tokenizer_<kind> with tokenizer.json and the file ids.txt: a line of ids for
each of the texts, which are the lines of tokenizer_texts.txt (\\n and \\t written so).
"""
import json
import os
import sys

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

TEXTS = [
    "Hello, world! It's 12345 apples & 3.14159.", "  leading and   inner   blanks  ", "",
    "don't we'll I'M THEY'RE you'd", "tabs\\tand\\nnew lines\\n\\n  indented\\r\\n", "a", " ", "   ",
    "déjà vu, naïve façade, Ångström", "e\u0301a\u0308 o\u0302 \u1100\u1161\u11a8",
    "日本語のテキスト、中文文本。한국어", "Ελληνικά русский العربية हिन्दी", "🙂🚀 emoji 👩‍👩‍👧",
    "x = (a+b)*c-d/e; // code\\nif (x != 0) { return x; }", "1 22 333 4444 55555",
    "<s>not special<think> but </think> this is", "snake_case CamelCase kebab-case",
    "A\u2028B\u00a0C\u3000D", "\u2581 the mark itself", "the the the theory of theories",
]
CORPUS = [t.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r") for t in TEXTS] * 4 + [
    "the theory of the apples and the world of code and blanks", "we return the theory"] * 10
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^""" "\r\n" r"""\p{L}\p{P}\p{S}]?"""
            r"""[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[""" "\r\n" r"""]*|\s*[""" "\r\n" r"""]+|\s+(?!\S)|\s+"""]
SPECIALS = ["<s>", "</s>", "<think>", "</think>"]


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def byte_level(splits, nfc=False, ignore_merges=False, bos=True, digits=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not splits)
    steps = [split(s) for s in splits] + ([pre_tokenizers.Digits(True)] if digits else []) + [level]
    t.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else level
    t.decoder = decoders.ByteLevel()
    if nfc:
        t.normalizer = normalizers.NFC()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    if bos:
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])])
    return t


def sentencepiece(metaspace):
    def finish(vocab, merges):
        t = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, unk_token="<unk>",
                                 fuse_unk=True))
        if metaspace:
            t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        else:
            t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"),
                                                 normalizers.Replace(" ", "\u2581")])
        t.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
        t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                       decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        t.add_special_tokens([AddedToken(s, normalized=False) for s in
                              ["<unk>"] + SPECIALS])
        return t
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trained.train_from_iterator(["the theory of the apples and the world", "we return the code"] * 9 +
                                TEXTS[:4], trainers.BpeTrainer(vocab_size=160, show_progress=False))
    model = json.loads(trained.to_str())["model"]
    vocab = {s: i for i, s in enumerate(["<unk>"] + SPECIALS)}
    for b in range(256):
        vocab[f"<0x{b:02X}>"] = len(vocab)
    for piece in model["vocab"]:
        vocab.setdefault(piece, len(vocab))
    return finish(vocab, [tuple(m) for m in model["merges"]])


KINDS = {
    "gpt2": byte_level([], bos=False),
    "llama3": byte_level([LLAMA3 % r"\p{N}{1,3}"], ignore_merges=True),
    "qwen2": byte_level([LLAMA3 % r"\p{N}"], nfc=True, bos=False),
    "deepseek": byte_level(DEEPSEEK),
    "llama2": sentencepiece(False),
    "llama2_metaspace": sentencepiece(True),
}


def main(folder):
    with open(os.path.join(folder, "tokenizer_texts.txt"), "w", newline="") as f:
        f.write("".join(t + "\n" for t in TEXTS))
    for kind, t in KINDS.items():
        out = os.path.join(folder, "tokenizer_" + kind)
        os.makedirs(out, exist_ok=True)
        t.save(os.path.join(out, "tokenizer.json"), pretty=False)
        with open(os.path.join(out, "ids.txt"), "w") as f:
            for text in CORPUS[:len(TEXTS)]:
                f.write(" ".join(map(str, t.encode(text).ids)) + "\n")


main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
