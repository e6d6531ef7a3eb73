#!/usr/bin/env bash
# gpu.sh - everything a machine with a CUDA device can say of the engine, in one command.
#
#   tests/gpu.sh [--libraries DIR] [--build DIR] [--models DIR] [--data DIR] [--tests] [--peer]
#   tests/gpu.sh --pack DIR
#
# Builds engine, plugin, program and tests (RM_ENGINE_ONLY), tests them on the device, writes models
# of stated shapes with random weights, measures, and prints one table. Needs no network, and of the
# project's libraries only PCRE2, cJSON, utf8proc and xxHash: where they are not installed, --libraries
# names a folder of their Debian packages, which `--pack DIR` downloads on a machine that has apt.
# --data names the folder with stories260k/, as RM_TEST_DATA does. --tests stops after the tests;
# --peer measures Hugging Face generate() beside them, if it is there.
# Exit status 0 if everything ran and passed, 77 where there is no device, else 1: the first failed
# test or build ends it; a case that cannot be measured is told, in the table too, and the others go on.
set -euo pipefail
trap 'printf "gpu.sh: line %s failed\n" "$LINENO" >&2' ERR
from=$PWD
cd "$(dirname "$(readlink -f "$0")")/.."

die() { printf 'gpu.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*"; }
given() { # OPTION VALUE - the path VALUE, as seen from where the script was called
    [ -n "${2:-}" ] || die "$1 needs a folder"
    case $2 in /*) printf '%s' "$2" ;; *) printf '%s/%s' "$from" "$2" ;; esac
}
libraries='' build=build-gpu models='' data=${RM_TEST_DATA:-} only_tests='' peer='' pack=''
while [ $# -gt 0 ]; do
    case $1 in
    --libraries) libraries=$(given "$@") || exit; shift ;;
    --build) build=$(given "$@") || exit; shift ;;
    --models) models=$(given "$@") || exit; shift ;;
    --data) data=$(given "$@") || exit; shift ;;
    --pack) pack=$(given "$@") || exit; shift ;;
    --tests) only_tests=1 ;;
    --peer) peer=1 ;;
    *) sed -n '2,18p' "$0" | sed 's/^# \{0,1\}//' && exit 2 ;;
    esac
    shift
done
models=${models:-$build/models}

if [ -n "$pack" ]; then
    mkdir -p "$pack" && cd "$pack"
    apt-get download libpcre2-dev libpcre2-8-0 libcjson-dev libcjson1 libutf8proc-dev libutf8proc2 \
        libxxhash-dev pkg-config pkgconf pkgconf-bin libpkgconf3
    exit
fi

# ---- building ------------------------------------------------------------------------------------

# The packages are unpacked beside the build; compiler, linker and loader are told where.
if [ -n "$libraries" ]; then
    root=$(readlink -m "$build")/libraries
    mkdir -p "$root"
    for package in "$libraries"/*.deb; do
        [ -e "$package" ] || die "$libraries has no .deb packages"
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
for tool in cmake gcc pkg-config; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
done
mkdir -p "$build"
log=$build/gpu.log
generator=()
[ -f "$build/CMakeCache.txt" ] || ! command -v ninja >/dev/null || generator=(-G Ninja)
cmake -S . -B "$build" ${generator[@]+"${generator[@]}"} -DRM_ENGINE_ONLY=ON \
    -DCMAKE_BUILD_TYPE=Release ${data:+-DRM_TEST_DATA="$data"} >"$log" 2>&1 ||
    { tail -n 20 "$log" >&2; die "configuring failed; see $log"; }
grep 'CUDA backend' "$log" || die "nothing is said of the CUDA backend; see $log"
if ! grep -q 'CUDA backend: built' "$log"; then
    ! nvidia-smi -L >/dev/null 2>&1 || die "there is a device, but its backend is not built"
    echo "[SKIP] gpu.sh: no CUDA toolkit, and no device"
    exit 77
fi
make_it() { # TARGET... - builds, or says why not
    cmake --build "$build" -j "$(nproc)" --target "$@" >>"$log" 2>&1 ||
        { grep -iE 'error|undefined' "$log" | head -n 20 >&2 || true; die "$* cannot be built; see $log"; }
}
make_it ramify rm_cuda_plugin gpu_tests
[ -s "$build/ramify-cuda.so" ] || die "the plugin is not where the program looks for it, in $build"

# ---- tests ---------------------------------------------------------------------------------------

# The kernels by themselves come first, without the overlap of launches and with it: what fails there
# need not be looked for in a model.
say "tests on the device"
make_it gpu_kernel_tests
status=0
"$build/gpu_kernel_tests" || status=$?
[ "$status" != 77 ] || exit 77
[ "$status" = 0 ] || die "a test of the kernels failed"
if [ -z "$data" ]; then
    data=$(sed -n 's/^RM_TEST_DATA:PATH=//p' "$build/CMakeCache.txt")
fi
"$build/tests/cuda/device/gpu_tests" engine/models "$data/stories260k" || status=$?
[ "$status" != 77 ] || die "the kernels run, but the backend finds no device"
[ "$status" = 0 ] || die "a test failed; nothing is measured before all pass"
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        if timeout 900 compute-sanitizer --tool $tool --error-exitcode 9 "$build/ramify" generate \
            -m thimble-s --backend cuda -p '1+2=<think>' --max-new-tokens 8 --raw \
            >"$build/$tool.log" 2>&1; then
            echo "compute-sanitizer $tool: clean"
        elif grep -qi 'not supported\|unable to\|failed to attach\|No attachable' "$build/$tool.log"; then
            echo "compute-sanitizer $tool: skipped, it cannot attach here"
        else
            tail -n 20 "$build/$tool.log"
            die "compute-sanitizer $tool found something, or took more than 15 minutes"
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
    [ -s "$models/$1.gguf" ] || "$ramify" models "$models/$1.gguf" --random "${@:2}" ||
        die "the model $1 cannot be written to $models"
}
number() { # NAME FILE - the number behind "NAME": in JSON
    sed -n "s/.*\"$1\": *\([0-9.e+-]*\).*/\1/p" "$2" | head -n 1
}
# bench NAME MODEL PATHS PROMPT GENERATE OPTIONS... - the median of NAME
bench() {
    "$ramify" bench -m "$2" --backend cuda --batch "$3" --prompt "$4" --generate "$5" \
        --max-batch-rows 1024 --json "${@:6}" >"$build/bench.json" && number "$1" "$build/bench.json"
}
speed() { bench decode_tokens_per_s "$@" --repeats 3; }
# per_round STRATEGY OPTIONS... - milliseconds of one step
per_round() {
    "$ramify" generate -m "$models/7b.gguf" --backend cuda -f "$models/prompt.txt" -s "$@" \
        --max-new-tokens 128 --json >"$build/round.json" || return 1
    awk -v r="$(number rounds "$build/round.json")" -v w="$(number wall_ms "$build/round.json")" \
        'BEGIN { if (!(r > 0)) exit 1; printf "%.4f", w / r }'
}
beam_against_paths() {
    local beam paths
    beam=$(per_round beam --num-beams 8) && paths=$(per_round sampling --num-return-sequences 8) &&
        awk "BEGIN { printf \"%.3f\", $beam / $paths }"
}
# 64 samples of 256 tokens from one prompt of 4096: positions held against 64 prompts with theirs.
kv_against_prompts() {
    local bytes
    bytes=$(bench kv_peak_bytes "$models/7b.gguf" 64 4096 256 --repeats 1) &&
        awk "BEGIN { printf \"%.4f\", $bytes / (64 * (4096 + 256) * 2 * 28 * 4 * 128 * 2) }"
}
bandwidth() { "$build/gpu_bandwidth"; }
rows=() n_failed=0
# row CASE TARGET COMMAND... - measures it; what fails, or prints nothing, is a row that says so
row() {
    local got=''
    got=$("${@:3}") || got=''
    if [ -z "$got" ]; then
        got=FAILED
        n_failed=$((n_failed + 1))
    fi
    rows+=("$1|$got|$2")
    printf '%-64s %14s   target %s\n' "$1" "$got" "$2"
}

say "measuring on $(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n 1 || true)"
make_it gpu_bandwidth
row "memory, reading only, TB/s" - bandwidth
random 7b --layers 28 --embd 3584 --heads 28 --kv-heads 4 --ff 18944 --vocab 152064 --ctx 8192 --type bf16
random 0.5b --layers 24 --embd 896 --heads 14 --kv-heads 2 --ff 4864 --vocab 151936 --ctx 8192 \
    --type bf16 --tied
printf 'a%.0s' $(seq 400) >"$models/prompt.txt"

row "7B shape, one stream, tok/s" 250 speed "$models/7b.gguf" 1 512 256
row "7B shape, 64 paths of one prompt of 512, tok/s" 15000 speed "$models/7b.gguf" 64 512 256
row "7B shape, 256 paths, tok/s" 35000 speed "$models/7b.gguf" 256 512 256
row "the same, 64 paths, fast products, tok/s" - \
    speed "$models/7b.gguf" 64 512 256 --products fast
row "0.5B shape, one stream, tok/s" 1500 speed "$models/0.5b.gguf" 1 512 256
row "thimble, 1024 paths, tok/s" 1000000 speed thimble 1024 20 200
row "beam of 8, a step, against 8 paths" 1.10 beam_against_paths
row "KV of 64 samples against 64 prompts of 4096" 0.10 kv_against_prompts
if [ -n "$peer" ] && ! python3 -c 'import torch, transformers' 2>/dev/null; then
    echo "Hugging Face generate(): skipped, torch or transformers is not installed"
elif [ -n "$peer" ]; then
    for kind in sample:64 beam:8; do
        row "Hugging Face generate(), $kind, tok/s" - \
            python3 tests/cuda/device/peer.py "${kind%:*}" "${kind#*:}" 512 256
    done
fi

say "table"
printf '| case | measured | target |\n|---|---|---|\n'
for line in "${rows[@]}"; do
    IFS='|' read -r what got want <<<"$line"
    printf '| %s | %s | %s |\n' "$what" "$got" "$want"
done
[ "$n_failed" = 0 ] || die "$n_failed cases could not be measured; what they said stands above"
