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
# The header stands alone in C and, where there is a compiler for it, in C++.
# shellcheck disable=SC2046
echo '#include <ramify.h>' | "$cc" -std=c11 -Wall -Wextra -pedantic -Werror -fsyntax-only -x c \
    $(options --cflags) -
for cxx in g++ clang++; do
    command -v "$cxx" >/dev/null || continue
    # shellcheck disable=SC2046
    echo '#include <ramify.h>' | "$cxx" -Wall -Wextra -Werror -fsyntax-only -x c++ \
        $(options --cflags) -
done
LD_LIBRARY_PATH=$(options --variable=libdir)
export LD_LIBRARY_PATH

# Nothing but the public names is exported, and they are.
nm -D --defined-only "$LD_LIBRARY_PATH/libramify.so" | awk '$2 != "A" { print $3 }' >"$where/symbols"
if [ -z "$flags" ] && grep -v '^rm_' "$where/symbols"; then
    echo "the library exports names that are not public"
    exit 1
fi
for name in rm_engine_open rm_model_open rm_eval rm_path_fork rm_strategy_run rm_text_free; do
    grep -qx "$name" "$where/symbols" || { echo "$name is not exported"; exit 1; }
done

"$where/example" "$source/engine/models/thimble.gguf" '(17+5)*(9-4)-36=<think>' >"$where/first"
test "$(grep -c 'tokens  ' "$where/first")" = 8
"$where/example" "$source/engine/models/thimble.gguf" '(17+5)*(9-4)-36=<think>' >"$where/second"
cmp "$where/first" "$where/second"
if "$where/example" /nonexistent.gguf x 2>"$where/error"; then echo "accepted a missing file"; exit 1; fi
grep -q '/nonexistent.gguf' "$where/error"

cd /
"$where/usr/bin/ramify" generate -m thimble -p '(17+5)*(9-4)-36=<think>' --strategy greedy --raw |
    grep -q '</think>-\{0,1\}[0-9]'
echo "library: installed, compiled, ran"
