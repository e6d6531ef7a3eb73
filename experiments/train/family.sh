#!/usr/bin/env bash
# family.sh - trains the models that ship, in the order in which they need each other, and writes
# their cards.
#
#   experiments/train/family.sh train DIR [NAME...]    the models (all, or these) into DIR/NAME.gguf
#   experiments/train/family.sh seeds DIR              GRPO and Dr. GRPO under two further seeds each
#   experiments/train/family.sh cards DIR OUT RUN...   a card for each model of DIR: OUT/NAME.md,
#                                                      with those runs that used the very file, and
#                                                      reinforced ones beside each other
#
# What is there is skipped; what was interrupted goes on from its checkpoint: start it again after
# whatever happened. RAMIFY names the program (default: build/ramify); NOTE, a file of Markdown to put
# into the cards.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
ramify=$(readlink -f "${RAMIFY:-$here/../../build/ramify}")
[ $# -ge 2 ] || { sed -n '2,15p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
[ -x "$ramify" ] || { echo "family.sh: $ramify is not a program (set RAMIFY)" >&2; exit 2; }
what=$1 folder=$(readlink -m "$2")
shift 2

# KIND NAME [first model]
family='sft thimble-base
sft thimble thimble-base
grpo thimble-grpo thimble
reward thimble-reward thimble
sft thimble-b thimble-base
sft thimble-c
sft thimble-s
grpo thimble-dr-grpo thimble'

# train KIND RECIPE NAME FROM [OPTION...]: nothing to do if it is there
train() {
    local kind=$1 recipe=$2 name=$3 from=$4
    shift 4
    [ ! -e "$folder/$name.gguf" ] || return 0
    [ -z "$from" ] || set -- --from "$folder/$from.gguf" "$@"
    echo "family.sh: $name" >&2
    "$ramify" train "$kind" "$here/$recipe.json" --out "$folder/$name.gguf" "$@"
}

hash_of() { "$ramify" models "$1" --json | sed -n 's/.*"hash_xxh3_128": "\(.*\)".*/\1/p'; }

# runs_of FILE RUN...: those in which that very file took part
runs_of() {
    local hash run
    hash=$(hash_of "$1")
    shift
    for run in "$@"; do
        ! grep -q "\"hash_xxh3_128\": \"$hash\"" "$run/manifest.json" || echo "$run"
    done
}

case $what in
train)
    mkdir -p "$folder"
    while read -r kind name from; do
        [ $# = 0 ] || [[ " $* " == *" $name "* ]] || continue
        train "$kind" "$name" "$name" "$from"
    done <<<"$family"
    ;;
seeds)
    for seed in 8 9; do
        for name in thimble-grpo thimble-dr-grpo; do
            train grpo "$name" "$name-s$((seed - 6))" thimble --seed "$seed"
        done
    done
    ;;
cards)
    out=$(readlink -m "$1") runs=()
    shift
    for run in "$@"; do runs+=("$(readlink -m "$run")"); done
    set -- "${runs[@]+"${runs[@]}"}"
    mkdir -p "$out"
    cd "$here/../.." # so that a card names the recipe as this project does
    for model in "$folder"/*.gguf; do
        name=$(basename "$model" .gguf)
        recipe=experiments/train/${name%-s[0-9]}.json
        [ -e "$recipe" ] || continue
        mapfile -t runs < <(runs_of "$model" "$@")
        beside=()
        for other in "$folder"/*grpo*.gguf; do # of the reinforced ones, in runs that are not its own
            [[ $name == *grpo* && $other != "$model" && -e $other ]] || continue
            while read -r run; do
                [[ " ${runs[*]-} ${beside[*]-} " == *" $run "* ]] || beside+=(--beside "$run")
            done < <(runs_of "$other" "$@")
        done
        "$ramify" card "$model" ${runs[@]+"${runs[@]}"} ${beside[@]+"${beside[@]}"} --recipe "$recipe" \
            --log "$folder/$name.train.jsonl" ${NOTE:+--note "$NOTE"} >"$out/$name.md"
        echo "$out/$name.md" >&2
    done
    ;;
*)
    echo "family.sh: $what is none of train, seeds, cards" >&2
    exit 2
    ;;
esac
