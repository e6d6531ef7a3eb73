#!/bin/sh
# test_notebooks.sh PROGRAM - makes a small run and executes every notebook on it from top to
# bottom; a cell that fails fails the test. Where Jupyter or a module is missing, exits 77.
set -eu
program=$(readlink -f "$1")
source=$(cd "$(dirname "$0")/../.." && pwd)
jupyter=/usr/bin/jupyter python=/usr/bin/python3 # Debian's, whatever comes first in PATH

skip() { echo "[SKIP] notebooks: $*"; exit 77; }
[ -x "$jupyter" ] || skip "no $jupyter (Debian package jupyter-nbconvert)"
for module in nbconvert ipykernel numpy pandas matplotlib; do
    "$python" -c "import $module" 2>/dev/null || skip "no Python module $module (python3-$module)"
done

where=$(mktemp -d "${TMPDIR:-/tmp}/ramify-notebooks.XXXXXX")
trap 'rm -rf "$where"' EXIT
# No settings of the user's, and nothing left in the home folder.
export HOME="$where" JUPYTER_CONFIG_DIR="$where/config" JUPYTER_DATA_DIR="$where/data" \
    JUPYTER_RUNTIME_DIR="$where/runtime" IPYTHONDIR="$where/ipython" MPLCONFIGDIR="$where/mpl" \
    PYDEVD_DISABLE_FILE_VALIDATION=1

"$program" run "$source/experiments/quick.json" --out "$where/run" --problems 8 --quiet

# execute RUN NOTEBOOK - the executed notebook is $where/out.ipynb
execute() {
    RAMIFY_RUN=$1 RAMIFY=$program "$jupyter" nbconvert --to notebook --execute "$2" \
        --ExecutePreprocessor.kernel_name=python3 --ExecutePreprocessor.timeout=300 \
        --output-dir "$where" --output out.ipynb >"$where/log" 2>&1
}

n=0
for notebook in "$source"/notebooks/*.ipynb; do
    name=${notebook##*/}
    "$python" - "$notebook" <<'PYTHON' || { echo "$name is stored with outputs"; exit 1; }
import json, sys
code = [c for c in json.load(open(sys.argv[1]))["cells"] if c["cell_type"] == "code"]
sys.exit(not code or any(c["outputs"] or c["execution_count"] for c in code))
PYTHON
    execute "$where/run" "$notebook" || { cat "$where/log"; echo "$name failed"; exit 1; }
    if execute "$where/missing" "$notebook"; then echo "$name accepts a missing run"; exit 1; fi
    grep -q "$where/missing has no records.sqlite" "$where/log" ||
        { cat "$where/log"; echo "$name does not say what is missing"; exit 1; }
    n=$((n + 1))
done
[ "$n" -gt 0 ] || { echo "no notebook in $source/notebooks"; exit 1; }
echo "notebooks: executed $n"
