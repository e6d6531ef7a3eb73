#!/usr/bin/env bash
# gpu.sh - everything a machine with a CUDA device can say of the engine, in one command.
#
#   tests/gpu.sh [--libraries DIR] [--build DIR] [--models DIR] [--tests] [--peer]
#   tests/gpu.sh --pack DIR
#
# Builds engine, plugin, program and tests (RM_ENGINE_ONLY), tests them on the device, writes models
# of stated shapes with random weights, measures, and prints one table. Needs no network, and of the
# project's libraries only PCRE2, cJSON, utf8proc and xxHash: where they are not installed, --libraries
# names a folder of their Debian packages, which `--pack DIR` downloads on a machine that has apt.
# --tests stops after the tests; --peer measures Hugging Face generate() beside them, if it is there.
# Exit status 0 if all ran, 77 where there is no device.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

libraries='' build=build-gpu models='' only_tests='' peer='' pack=''
while [ $# -gt 0 ]; do
    case $1 in
    --libraries) libraries=$(readlink -f "$2") && shift ;;
    --build) build=$2 && shift ;;
    --models) models=$2 && shift ;;
    --pack) pack=$2 && shift ;;
    --tests) only_tests=1 ;;
    --peer) peer=1 ;;
    *) sed -n '2,15p' "$0" | sed 's/^# \{0,1\}//' && exit 2 ;;
    esac
    shift
done
models=${models:-$build/models}
say() { printf '\n== %s\n' "$*"; }
die() { printf 'gpu.sh: %s\n' "$*" >&2; exit 1; }

if [ -n "$pack" ]; then
    mkdir -p "$pack" && cd "$pack"
    apt-get download libpcre2-dev libpcre2-8-0 libcjson-dev libcjson1 libutf8proc-dev libutf8proc2 \
        libxxhash-dev pkg-config pkgconf pkgconf-bin libpkgconf3
    exit
fi

# ---- building ------------------------------------------------------------------------------------

# The packages are unpacked beside the build; compiler, linker and loader are told where.
if [ -n "$libraries" ]; then
    root=$PWD/$build/libraries
    mkdir -p "$root"
    for package in "$libraries"/*.deb; do
        dpkg -x "$package" "$root" || die "$package cannot be unpacked"
    done
    triplet=$(gcc -print-multiarch)
    export PATH=$PATH:$root/usr/bin
    export PKG_CONFIG_PATH=$root/usr/lib/$triplet/pkgconfig:$root/usr/share/pkgconfig
    export PKG_CONFIG_SYSROOT_DIR=$root
    export C_INCLUDE_PATH=$root/usr/include LIBRARY_PATH=$root/usr/lib/$triplet
    export LD_LIBRARY_PATH=$root/usr/lib/$triplet${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
say "building in $build"
generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
cmake -S . -B "$build" "${generator[@]}" -DRM_ENGINE_ONLY=ON -DCMAKE_BUILD_TYPE=Release \
    >"$build.log" 2>&1 || { tail -n 20 "$build.log" >&2; die "configuring failed"; }
grep 'CUDA backend' "$build.log" || true
cmake --build "$build" -j "$(nproc)" --target ramify gpu_tests >>"$build.log" 2>&1 ||
    { grep -E 'error|Error' "$build.log" | head -n 20 >&2; die "the build failed; see $build.log"; }

# ---- tests ---------------------------------------------------------------------------------------

say "tests on the device"
status=0
"$build/tests/cuda/device/gpu_tests" engine/models || status=$?
[ "$status" != 77 ] || exit 77
cmake --build "$build" -j "$(nproc)" --target gpu_kernel_tests >>"$build.log" 2>&1 ||
    die "the tests of the kernels do not build; see $build.log"
"$build/gpu_kernel_tests" || status=$?
[ "$status" = 0 ] || die "a test failed; nothing is measured before it passes"
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        if compute-sanitizer --tool $tool --error-exitcode 9 "$build/ramify" generate -m thimble-s \
            --backend cuda -p '1+2=<think>' --max-new-tokens 8 --raw >"$build/$tool.log" 2>&1; then
            echo "compute-sanitizer $tool: clean"
        elif grep -qi 'not supported\|unable to\|failed to attach\|No attachable' "$build/$tool.log"; then
            echo "compute-sanitizer $tool: skipped, it cannot attach here"
        else
            tail -n 20 "$build/$tool.log"
            die "compute-sanitizer $tool found something"
        fi
    done
else
    echo "compute-sanitizer: skipped, it is not installed"
fi
[ -z "$only_tests" ] || exit 0

# ---- measuring -----------------------------------------------------------------------------------

ramify=$build/ramify
mkdir -p "$models"
random() { # NAME OPTIONS... - a model of a stated shape, unless it is there
    [ -s "$models/$1.gguf" ] || "$ramify" models "$models/$1.gguf" --random "${@:2}"
}
# bench MODEL PATHS PROMPT GENERATE OPTIONS... - median tokens per second of all paths
bench() {
    "$ramify" bench -m "$1" --backend cuda --batch "$2" --prompt "$3" --generate "$4" --repeats 3 \
        --max-batch-rows 1024 --json "${@:5}" |
        sed -n 's/.*"decode_tokens_per_s": *\([0-9.e+]*\).*/\1/p' | head -n 1
}
# per_round STRATEGY OPTIONS... - milliseconds of one step
per_round() {
    "$ramify" generate -m "$models/7b.gguf" --backend cuda -f "$models/prompt.txt" -s "$@" \
        --max-new-tokens 128 --json 2>/dev/null |
        awk -F'[:,]' '/"rounds"/ { r = $2 } /"wall_ms"/ { w = $2 } END { printf "%.3f", w / r }'
}
rows=()
row() { rows+=("$1|$2|$3") && printf '%-64s %14s   target %s\n' "$1" "$2" "$3"; }

say "measuring on $(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1)"
cmake --build "$build" --target gpu_bandwidth >>"$build.log" 2>&1 &&
    row "memory, reading only, TB/s" "$("$build/gpu_bandwidth")" "-"
random 7b --layers 28 --embd 3584 --heads 28 --kv-heads 4 --ff 18944 --vocab 152064 --ctx 8192 --type bf16
random 0.5b --layers 24 --embd 896 --heads 14 --kv-heads 2 --ff 4864 --vocab 151936 --ctx 8192 \
    --type bf16 --tied
printf 'a%.0s' $(seq 400) >"$models/prompt.txt"

row "7B shape, one stream, tok/s" "$(bench "$models/7b.gguf" 1 512 256)" "250"
row "7B shape, 64 paths of one prompt of 512, tok/s" "$(bench "$models/7b.gguf" 64 512 256)" "15000"
row "7B shape, 256 paths, tok/s" "$(bench "$models/7b.gguf" 256 512 256)" "35000"
row "the same, 64 paths, fast products, tok/s" \
    "$(bench "$models/7b.gguf" 64 512 256 --products fast)" "-"
row "0.5B shape, one stream, tok/s" "$(bench "$models/0.5b.gguf" 1 512 256)" "1500"
row "thimble, 1024 paths, tok/s" "$(bench thimble 1024 20 200)" "1000000"
beam=$(per_round beam --num-beams 8)
paths=$(per_round sampling --num-return-sequences 8)
row "beam of 8, a step, against 8 paths" "$(awk "BEGIN { printf \"%.3f\", $beam / $paths }")" "1.10"
# 64 samples of 256 tokens from one prompt of 4096: positions held against 64 prompts with theirs.
row "KV of 64 samples against 64 prompts of 4096" "$("$ramify" bench -m "$models/7b.gguf" \
    --backend cuda --batch 64 --prompt 4096 --generate 256 --repeats 1 --json |
    awk -F'[:,]' '/"kv_peak_bytes"/ { printf "%.4f", $2 / (64 * (4096 + 256) * 2 * 28 * 4 * 128 * 2) }')" "0.10"
if [ -n "$peer" ]; then
    for kind in sample:64 beam:8; do
        if rate=$(python3 tests/cuda/device/peer.py "${kind%:*}" "${kind#*:}" 512 256); then
            row "Hugging Face generate(), $kind, tok/s" "$rate" "-"
        fi
    done
fi

say "table"
printf '| case | measured | target |\n|---|---|---|\n'
for line in "${rows[@]}"; do
    IFS='|' read -r what got want <<<"$line"
    printf '| %s | %s | %s |\n' "$what" "$got" "$want"
done
