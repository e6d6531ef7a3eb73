#!/bin/sh
# test_library.sh BUILD CC [FLAGS] - installs into an empty folder, compiles the example against
# the installed header through pkg-config, runs it, and runs the installed program by model name.
set -eu
build=$1 cc=$2 flags=${3:-}
where=$(mktemp -d "${TMPDIR:-/tmp}/ramify-library.XXXXXX")
trap 'rm -rf "$where"' EXIT
source=$(cd "$(dirname "$0")/../.." && pwd)

DESTDIR= cmake --install "$build" --prefix "$where/usr" >/dev/null
pc=$(find "$where/usr" -name ramify.pc)
# The prefix in the file is the one chosen at configuration; pkg-config is told the real one.
options() { PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --define-variable=prefix="$where/usr" "$@" ramify; }
# shellcheck disable=SC2046,SC2086
"$cc" -std=c11 -Wall $flags "$source/library/example.c" -o "$where/example" $(options --cflags --libs)
LD_LIBRARY_PATH=$(options --variable=libdir)
export LD_LIBRARY_PATH
ASAN_OPTIONS=detect_leaks=0; export ASAN_OPTIONS # the example leaves closing to the system

"$where/example" "$source/engine/models/thimble.gguf" '(17+5)*(9-4)-36=<think>' >"$where/first"
test "$(grep -c 'tokens  ' "$where/first")" = 8
"$where/example" "$source/engine/models/thimble.gguf" '(17+5)*(9-4)-36=<think>' >"$where/second"
cmp "$where/first" "$where/second"
if "$where/example" /nonexistent.gguf x 2>"$where/error"; then echo "accepted a missing file"; exit 1; fi
grep -q '/nonexistent.gguf' "$where/error"

cd /
"$where/usr/bin/ramify" generate -m thimble -p '(17+5)*(9-4)-36=<think>' --strategy greedy --raw |
    grep -q '</think>74'
echo "library: installed, compiled, ran"
