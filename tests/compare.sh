#!/usr/bin/env bash
# compare.sh - our decoding speed beside another engine's, in one run.
#
#   tests/compare.sh RAMIFY PEER MODEL.gguf [PROMPT GENERATE THREADS BATCHES REPEATS]
#
# PEER is a llama-batched-bench of llama.cpp or of a relative of it, built outside this project.
# Both programs decode B paths from one shared prompt, greedily, in turn (A B A B ...), so that a
# machine whose speed drifts slows both; each ratio is taken within a turn. Printed per B: tokens per
# second of both (medians), and the ratio's minimum, median and maximum.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
ramify=$1 peer=$2 model=$3 prompt=${4:-128} generate=${5:-128} threads=${6:-2}
batches=${7:-1,4,16,64} repeats=${8:-5}
for program in "$ramify" "$peer"; do
    [ -x "$program" ] || { echo "compare.sh: $program is not a program" >&2; exit 2; }
done
[ -r "$model" ] || { echo "compare.sh: cannot read $model" >&2; exit 2; }

rows=$(mktemp) a=$(mktemp) b=$(mktemp)
trap 'rm -f "$rows" "$a" "$b"' EXIT
largest=$(tr , '\n' <<<"$batches" | sort -n | tail -n 1)
context=$((largest * (prompt + generate)))

ours() { # lines "B prefill decode"
    "$ramify" bench -m "$model" --batch "$batches" --prompt "$prompt" --generate "$generate" \
        --threads "$threads" --repeats 1 --greedy --json 2>/dev/null |
        awk -F'[:,]' '/"batch"/ {b = $2} /"prefill_tokens_per_s"/ {p = $2}
                      /"decode_tokens_per_s"/ {print b + 0, p + 0, $2 + 0}'
}
theirs() {
    "$peer" -m "$model" -c "$context" -npp "$prompt" -ntg "$generate" -npl "$batches" -pps \
        -t "$threads" -tb "$threads" 2>&1 |
        awk -F'|' '/^\|/ && $2 + 0 > 0 {print $4 + 0, $7 + 0, $9 + 0}'
}
for ((i = 0; i < repeats; i++)); do
    ours | sort >"$a" # one after the other: never both at once
    theirs | sort >"$b"
    join "$a" "$b" >>"$rows"
done
[ -s "$rows" ] || { echo "compare.sh: one of the programs printed no result" >&2; exit 1; }

median() { sort -g | awk '{v[NR] = $1} END {print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
printf '%5s  %-7s %10s %10s   %s\n' B phase ours theirs 'ratio min / median / max'
for n in $(tr , ' ' <<<"$batches"); do
    for phase in prefill:2:4 decode:3:5; do
        IFS=: read -r name x y <<<"$phase"
        ratios=$(awk -v n="$n" -v x="$x" -v y="$y" '$1 == n && $y > 0 {print $x / $y}' "$rows" | sort -g)
        printf '%5s  %-7s %10.0f %10.0f   %.2f / %.2f / %.2f\n' "$n" "$name" \
            "$(awk -v n="$n" -v x="$x" '$1 == n {print $x}' "$rows" | median)" \
            "$(awk -v n="$n" -v y="$y" '$1 == n {print $y}' "$rows" | median)" \
            "$(head -n 1 <<<"$ratios")" "$(median <<<"$ratios")" "$(tail -n 1 <<<"$ratios")"
    done
done
