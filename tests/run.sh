#!/bin/sh
# run.sh TEST - runs one Criterion executable. Criterion starts every test in a process of its
# own and lets it exit 0 with a leak report, and a run in which no test matched exits 0 too: both
# fail here. Skipped tests are printed with their reason; where all are, the exit status is 77.
set -u
logs=$(mktemp -d "${TMPDIR:-/tmp}/ramify-test.XXXXXX") || exit 1
trap 'rm -rf "$logs"' EXIT

ASAN_OPTIONS="log_path=$logs/asan:detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}" \
UBSAN_OPTIONS="log_path=$logs/ubsan:print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}" \
    "$@" --verbose >"$logs/out" 2>&1
status=$?
grep -Ev '^(\[RUN \]|\[PASS\])' "$logs/out"
for report in "$logs"/asan* "$logs"/ubsan*; do
    [ -s "$report" ] || continue
    cat "$report"
    status=1
done
if ! grep -q '^\[PASS\]' "$logs/out" && [ "$status" = 0 ]; then
    if grep -q '^\[SKIP\]' "$logs/out"; then
        status=77
    else
        echo "run.sh: no test was executed by $1"
        status=1
    fi
fi
exit "$status"
