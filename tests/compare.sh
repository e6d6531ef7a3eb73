#!/usr/bin/env bash
# compare.sh - our decoding speed beside other engines', in one run.
#
#   tests/compare.sh RAMIFY PEER MODEL.gguf [PROMPT GENERATE THREADS BATCHES REPEATS]
#   tests/compare.sh --large RAMIFY PEER,PEER... DIR [TYPES THREADS REPEATS]
#
# A PEER is a llama-batched-bench of llama.cpp or of a relative of it, built outside this project.
# All programs decode B paths from one shared prompt, greedily, in turn (A B A B ...), so that a
# machine whose speed drifts slows all; each ratio is taken within a turn. Printed per B: tokens per
# second of both (medians), and the ratio's minimum, median and maximum.
#
# With --large, models of Qwen2.5-0.5B's shape with random weights of each of TYPES
# (bf16,q8_0,q4_k_m) are written to DIR unless they are there, and for each type and peer three
# things are compared: the prefill of 512, one stream after it (32 tokens), and 64 paths from a
# prompt of 128 (8 tokens each).
set -euo pipefail
usage() { sed -n '2,16p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
need_program() { [ -x "$1" ] || { echo "compare.sh: $1 is not a program" >&2; exit 2; }; }

rows=$(mktemp) a=$(mktemp) b=$(mktemp)
trap 'rm -f "$rows" "$a" "$b"' EXIT

ours() { # lines "B prefill decode"
    "$ramify" bench -m "$model" --batch "$batches" --prompt "$prompt" --generate "$generate" \
        --threads "$threads" --repeats 1 --greedy --json 2>/dev/null |
        awk -F'[:,]' '/"batch"/ {b = $2} /"prefill_tokens_per_s"/ {p = $2}
                      /"decode_tokens_per_s"/ {print b + 0, p + 0, $2 + 0}'
}
theirs() {
    local largest
    largest=$(tr , '\n' <<<"$batches" | sort -n | tail -n 1)
    "$peer" -m "$model" -c $((largest * (prompt + generate))) -npp "$prompt" -ntg "$generate" \
        -npl "$batches" -pps -t "$threads" -tb "$threads" 2>&1 |
        awk -F'|' '/^\|/ && $2 + 0 > 0 {print $4 + 0, $7 + 0, $9 + 0}'
}
turn() { # one after the other: never two at once
    ours | sort >"$a"
    theirs | sort >"$b"
    join "$a" "$b"
}
median() { sort -g | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
heading() { printf '%5s  %-7s %10s %10s   %s\n' B phase ours theirs 'ratio min / median / max'; }
line() { # B, phase, and the columns of $rows that ours and theirs are in
    local n=$1 x=$3 y=$4 ratios
    ratios=$(awk -v n="$n" -v x="$x" -v y="$y" '$1 == n && $y > 0 {print $x / $y}' "$rows" | sort -g)
    [ -n "$ratios" ] || { echo "compare.sh: one of the programs printed no result" >&2; exit 1; }
    printf '%5s  %-7s %10.0f %10.0f   %.2f / %.2f / %.2f\n' "$n" "$2" \
        "$(awk -v n="$n" -v x="$x" '$1 == n {print $x}' "$rows" | median)" \
        "$(awk -v n="$n" -v y="$y" '$1 == n {print $y}' "$rows" | median)" \
        "$(head -n 1 <<<"$ratios")" "$(median <<<"$ratios")" "$(tail -n 1 <<<"$ratios")"
}

if [ "${1-}" = --large ]; then
    [ $# -ge 4 ] || usage
    ramify=$2 dir=$4 types=${5:-bf16,q8_0,q4_k_m} threads=${6:-2} repeats=${7:-3}
    IFS=, read -ra peers <<<"$3"
    for program in "$ramify" "${peers[@]}"; do need_program "$program"; done
    for type in ${types//,/ }; do
        model=$dir/large-$type.gguf
        [ -r "$model" ] || "$ramify" models "$model" --random --layers 24 --embd 896 --heads 14 \
            --kv-heads 2 --ff 4864 --vocab 151936 --tied --type "$type"
        for peer in "${peers[@]}"; do
            : >"$rows"
            for ((i = 0; i < repeats; i++)); do
                prompt=512 generate=32 batches=1 && turn >>"$rows"
                prompt=128 generate=8 batches=64 && turn >>"$rows"
            done
            echo "$type, against $peer"
            heading
            line 1 prefill 2 4
            line 1 decode 3 5
            line 64 decode 3 5
        done
    done
    exit
fi

[ $# -ge 3 ] || usage
ramify=$1 peer=$2 model=$3 prompt=${4:-128} generate=${5:-128} threads=${6:-2}
batches=${7:-1,4,16,64} repeats=${8:-5}
need_program "$ramify"
need_program "$peer"
[ -r "$model" ] || { echo "compare.sh: cannot read $model" >&2; exit 2; }
for ((i = 0; i < repeats; i++)); do
    turn >>"$rows"
done
heading
for n in ${batches//,/ }; do
    line "$n" prefill 2 4
    line "$n" decode 3 5
done
