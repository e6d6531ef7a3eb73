#!/usr/bin/env python3
"""Small vocabularies of the kinds that tokenizer.json files describe, and what the tokenizers
package makes of some texts.

    python make_tokenizers.py [FOLDER]     (tokenizers, sentencepiece, protobuf, gguf; FOLDER: this one)

For each kind a folder tokenizer_<kind> with tokenizer.json and the file ids.txt: a line of ids for
each of the texts, which are the lines of tokenizer_texts.txt (\\n and \\t written so). In tokenizer_gguf a
unigram model that SentencePiece trained, as GGUF, and the ids of SentencePiece itself.
"""
import io
import json
import os
import sys

import gguf
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
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
# Names with conditions, normal forms, compositions, controls: not in the corpus, which stays as it is.
TEXTS += [
    "a <l> b <r>  c<w>d <w> e<n>F <N> x <b> y", "<W>Wort <w>. Wort, Worte wort", "  <l>  <r>  <b>  ",
    "ﬁne ＡＢＣ １２３　end", "É <É> é<é> <S> <s>", "x\\t\\n<l>\u3000<r>\u00a0y<w>_<w>é<w>", "ÄÖÜ İstanbul ΣΑΣ ǅ",
    "x\u0001a\u200bb\ufeffc\u000bd", "e\u0301 cafe\u0301 ﷺ ½ Å ⅷ ㌀", "<l><l> <r> <r><n> <n>", "HTTPServer iPhone's mcDONALD",
    "the code   of the  world ", "zürich ☃ snow ☃☃ z\u0301z\u0301\u0302 \u212b", "ⓐ<w>ⓑ <w>-<w>",
]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^""" "\r\n" r"""\p{L}\p{P}\p{S}]?"""
            r"""[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[""" "\r\n" r"""]*|\s*[""" "\r\n" r"""]+|\s+(?!\S)|\s+"""]
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
          r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
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


FLAGS = [AddedToken("<l>", lstrip=True, normalized=False), AddedToken("<r>", rstrip=True, normalized=False),
         AddedToken("<b>", lstrip=True, rstrip=True, normalized=False),
         AddedToken("<w>", single_word=True, normalized=False), AddedToken("<n>", normalized=True),
         AddedToken("Wort", single_word=True, normalized=True), AddedToken("<É>", normalized=True)]


def flagged(t, special="<S>"):
    t.add_tokens(FLAGS)
    t.add_special_tokens([AddedToken(special, normalized=True, lstrip=True)])
    return t


def trained(**options):
    """A model by SentencePiece with a small table of replacements."""
    rules = {"\ufb01": "fi", "\u212b": "\u00c5", "e\u0301": "\u00e9", "\u3000": " ", "\u00bd": "1/2", "\u200b": "",
             "\uff21": "A", "\uff22": "B", "\uff23": "C", "\uff11": "1", "z": "Z", "\u00e4": "ae"}
    table = os.path.join("/tmp", "ramify-rules.tsv")
    with open(table, "w") as f:
        for a, b in rules.items():
            f.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=out, vocab_size=400, character_coverage=0.98,
        normalization_rule_tsv=table, minloglevel=2, hard_vocab_limit=False, **options)
    os.remove(table)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(out.getvalue())
    return proto


def charsmap():
    return trained().normalizer_spec.precompiled_charsmap


def write_gguf(folder):
    proto = trained()
    os.makedirs(folder, exist_ok=True)
    w = gguf.GGUFWriter(os.path.join(folder, "t5.gguf"), "llama")
    w.add_tokenizer_model("t5")
    w.add_token_list([p.piece for p in proto.pieces])
    w.add_token_scores([p.score for p in proto.pieces])
    w.add_token_types([p.type for p in proto.pieces])
    w.add_unk_token_id(proto.trainer_spec.unk_id)
    w.add_precompiled_charsmap(proto.normalizer_spec.precompiled_charsmap)
    w.add_remove_extra_whitespaces(proto.normalizer_spec.remove_extra_whitespaces)
    w.add_add_space_prefix(proto.normalizer_spec.add_dummy_prefix)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()
    own = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    with open(os.path.join(folder, "ids.txt"), "w") as f:
        for text in TEXTS:
            f.write(" ".join(map(str, own.encode(unescape(text)))) + "\n")


def unigram(normalizer, pre_tokenizer, bytes=False, prefix="\u2581"):
    """Scores made up, close enough together for several cuttings to compete."""
    pieces = ["<unk>", "<s>", "</s>"] + ([f"<0x{b:02X}>" for b in range(256)] if bytes else [])
    words = sorted({w[i:j] for t in CORPUS for w in t.lower().split() if w.isascii()
                    for i in range(len(w)) for j in range(i + 1, min(len(w), i + 5) + 1)} |
                   {"\u2581", "é", "ä", "日本", "本語", "語", "日", "\u2581\u2581", "\u2581the", "\u2581the\u2581",
                    "\u2581of", "\u2581a", "A", "H", "HT", "TP", "T", "P"})
    words = [w for i, w in enumerate(words) if len(w) < 3 or w[0] == "\u2581" or i % 7 == 0]
    vocab = [(p, 0.0) for p in pieces]
    vocab += [(w, -2.0 - (i * 37 % 101) / 8 - (6 if len(w) == 1 else 0)) for i, w in enumerate(words)]
    t = Tokenizer(models.Unigram(vocab, 0, bytes))
    t.normalizer, t.pre_tokenizer = normalizer, pre_tokenizer
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
    return t


def spm_bpe(metaspace):
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
    "llama2": spm_bpe(False),
    "llama2_metaspace": spm_bpe(True),
}


def with_normalizer(t, normalizer, pre_tokenizer=None):
    t.normalizer = normalizer
    if pre_tokenizer:
        t.pre_tokenizer = pre_tokenizer
    return t


def later_kinds():
    n, p = normalizers, pre_tokenizers
    space = p.Metaspace(prepend_scheme="always")
    marked = n.Sequence([n.Prepend("\u2581"), n.Replace(" ", "\u2581")])
    blanks = n.Sequence([n.Precompiled(charsmap()), n.Strip(False, True), n.Replace(Regex(" {2,}"), "\u2581")])
    KINDS.update({
        "tekken": byte_level([TEKKEN], ignore_merges=True),
        "flags": flagged(with_normalizer(byte_level([], bos=False), n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase()]),
                                         p.ByteLevel(add_prefix_space=True))),
        "flags_plain": flagged(byte_level([LLAMA3 % r"\p{N}"], bos=False)),
        "flags_llama2": flagged(spm_bpe(False)),
        "metaspace_split": with_normalizer(spm_bpe(True), n.NFKC(), space),
        "unigram_t5": unigram(blanks, space),
        "unigram_words": flagged(unigram(n.Sequence([n.Nmt(), n.NFKC()]),
                                         p.Sequence([p.WhitespaceSplit(), p.Metaspace(prepend_scheme="first")]))),
        "unigram_bytes": flagged(unigram(marked, None, bytes=True)),
        "unigram_whole": unigram(n.NFKD(), p.Metaspace(prepend_scheme="first", split=False), bytes=True),
    })


def unescape(text):
    return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")


def main(folder):
    with open(os.path.join(folder, "tokenizer_texts.txt"), "w", newline="") as f:
        f.write("".join(t + "\n" for t in TEXTS))
    write_gguf(os.path.join(folder, "tokenizer_gguf"))
    later_kinds()
    for kind, t in KINDS.items():
        out = os.path.join(folder, "tokenizer_" + kind)
        os.makedirs(out, exist_ok=True)
        t.save(os.path.join(out, "tokenizer.json"), pretty=False)
        with open(os.path.join(out, "ids.txt"), "w") as f:
            for text in TEXTS:
                ids = t.encode(unescape(text)).ids
                # a token put behind a text is not ours to put there
                f.write(" ".join(map(str, ids[:-1] if kind.startswith("unigram") else ids)) + "\n")


main(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
