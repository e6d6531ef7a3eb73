"""Beam search as Hugging Face transformers (4.50 and later, `_beam_search`) and, for groups, its
`BeamSearchScorer` compute it, written again in plain Python over a toy language model.

Prints the table of test_beam_step.c:  python3 tests/strategies/beam_reference.py

Placeholders of score -1e9 stand in the lists as they do there; every case below has
num_beams < vocabulary, where they are crowded out at once.
"""
import math

V, EOS, MAX = 6, 0, 6


def log_probs(seed, step, last):
    """Toy model: logits from integer arithmetic, so that C computes the same ones."""
    logits = [((7 * seed + 5 * step * step + 3 * last * v + 11 * v + step * v) % 23) / 6.0
              for v in range(V)]
    top = max(logits)
    total = math.log(sum(math.exp(x - top) for x in logits))
    return [x - top - total for x in logits]


def norm(kind, alpha, length, prompt):
    return {"generated": length ** alpha, "total": (prompt + length) ** alpha,
            "gnmt": ((5 + length) / 6) ** alpha, "none": 1.0}[kind]


def penalised(lp, v, seq, chosen, diversity, repetition):
    """Hugging Face's order: first the diversity, then the repetition penalty."""
    lp -= diversity * chosen.count(v)
    if v in seq:
        lp = lp * repetition if lp < 0 else lp / repetition
    return lp


def search(seed, beams, groups, diversity, repetition, alpha, kind, early, prompt=3):
    width = beams // groups
    state = [dict(live=[(0.0 if i == 0 else -1e9, ()) for i in range(width)], done=[], stop=False)
             for _ in range(groups)]
    length = 0
    while not all(g["stop"] for g in state):
        length += 1
        chosen = []
        for g in state:
            if g["stop"]:
                continue
            flat = []
            for b, (score, seq) in enumerate(g["live"]):
                lp = log_probs(seed, length - 1, seq[-1] if seq else V)
                for v in range(V):
                    flat.append((score + penalised(lp[v], v, seq, chosen, diversity, repetition),
                                 b, v))
            flat.sort(key=lambda t: (-t[0], t[1], t[2]))
            keep = flat[:2 * width]
            ended = [v == EOS or length == MAX for _, _, v in keep]
            for rank, ((score, b, v), end) in enumerate(zip(keep, ended)):
                if end and rank < width:
                    g["done"].append((score / norm(kind, alpha, length, prompt),
                                      g["live"][b][1] + (v,)))
            g["done"] = sorted(g["done"], key=lambda t: -t[0])[:width]
            alive = [(score, g["live"][b][1] + (v,))
                     for (score, b, v), end in zip(keep, ended) if not end][:width]
            g["live"] = alive
            chosen += [seq[-1] for _, seq in alive]
            full = len(g["done"]) == width
            if not alive:
                g["stop"] = True
            elif early == "true":
                g["stop"] = full
            else:
                at = MAX if early == "never" and alpha > 0 else length
                possible = alive[0][0] / norm(kind, alpha, at, prompt)
                g["stop"] = full and possible <= g["done"][-1][0]
    done = [d for g in state for d in g["done"]]
    return sorted(done, key=lambda t: -t[0])


def main():
    cases = []
    for i, seed in enumerate(range(1, 13)):
        for early in ("false", "true", "never"):
            kind = ("generated", "total", "gnmt", "none")[i % 4]
            alpha = (1.0, 0.0, 0.7, 2.0, -0.5)[(i + len(early)) % 5]
            beams = (1, 2, 3, 4, 4)[i % 5]
            groups = 2 if beams == 4 and i % 2 else 1
            cases.append((seed, beams, groups, 0.5 if groups > 1 else 0.0, 1.0, alpha, kind,
                          early))
    for seed in range(13, 21):  # both penalties
        early = ("false", "true", "never")[seed % 3]
        cases.append((seed, 4, 2 if seed % 2 else 4, 0.7, 0.8 if seed % 4 == 0 else 1.6, 1.0,
                      "generated", early))
    for case in cases:
        result = search(*case)
        seed, beams, groups, diversity, repetition, alpha, kind, early = case
        text = ", ".join('{ "%s", %.15g }' % ("".join(map(str, seq)), score)
                         for score, seq in result[:4])
        print("    { %d, %d, %d, %g, %g, %g, BEAM_NORM_%s, BEAM_EARLY_%s, %d,\n      { %s } },"
              % (seed, beams, groups, diversity, repetition, alpha, kind.upper(), early.upper(),
                 len(result), text))


if __name__ == "__main__":
    main()
