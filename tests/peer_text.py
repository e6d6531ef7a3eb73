#!/usr/bin/env python3
"""peer_text.py - do our model files say the same in another engine?

    tests/peer_text.py RAMIFY LLAMA_CPP MODEL.gguf [PROBLEMS]

Ramify answers held-out problems greedily; llama.cpp (a source tree with a finished build in
LLAMA_CPP/build, outside this project) reads the same file and the same prompts, through peer_text.c.
Printed: how many answers have the same tokens, and the first that has not. Equal bits are not
expected: llama.cpp rounds activations to the weights' type, so where two tokens are almost equally
probable the two may part. Exit status 1 below 95%.
"""
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

MOST_TOKENS = 200


def main(ramify, peer, model, problems="100"):
    here = pathlib.Path(__file__).resolve().parent
    libraries = pathlib.Path(peer) / "build" / "bin"
    tasks = [{"kind": "arithmetic", "operations": 6}, {"kind": "countdown"}]
    config = {
        "models": {"model": str(pathlib.Path(model).resolve())},
        "tasks": [dict(task, max_new_tokens=MOST_TOKENS) for task in tasks],
        "problems": int(problems),
        "strategies": [{"strategy": "greedy"}],
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        program = folder / "peer_text"
        subprocess.run(
            ["cc", "-O2", here / "peer_text.c", "-o", program, f"-I{peer}/include",
             f"-I{peer}/ggml/include", f"-L{libraries}", f"-Wl,-rpath,{libraries}",
             "-lllama", "-lggml", "-lggml-base"], check=True)
        (folder / "config.json").write_text(json.dumps(config))
        subprocess.run([ramify, "run", folder / "config.json", "--out", folder / "run", "-q"],
                       check=True)
        exported = subprocess.run([ramify, "export", folder / "run", "--tokens"], check=True,
                                  capture_output=True, text=True).stdout
        database = sqlite3.connect(folder / "run" / "records.sqlite")
        prompts = dict(((task, problem), prompt) for task, problem, prompt in
                       database.execute("SELECT task, id, prompt FROM problems"))
        ours = [json.loads(line) for line in exported.splitlines()]
        asked = "".join(prompts[one["task"], one["problem"]] + "\n" for one in ours)
        said = subprocess.run([program, model, str(MOST_TOKENS)], input=asked, check=True,
                              capture_output=True, text=True).stdout
        theirs = [[int(word) for word in line.split()] for line in said.splitlines()]
        assert len(ours) == len(theirs)
    total = same = 0
    for task in (task["kind"] for task in tasks):
        pairs = [(a, b) for a, b in zip(ours, theirs) if a["task"] == task]
        equal = sum(a["tokens"] == b for a, b in pairs)
        print(f"{task}: {equal} of {len(pairs)} greedy answers have the same tokens")
        total, same = total + len(pairs), same + equal
    for a, b in zip(ours, theirs):
        if a["tokens"] != b:
            at = next(i for i, (x, y) in enumerate(zip(a["tokens"] + [-1], b + [-2])) if x != y)
            print(f"the first that differs: {a['problem']}, from token {at} on")
            break
    return 0 if same >= 0.95 * total else 1


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
