#!/usr/bin/env bash
# Run `make demo DETACH=1`, then `make down`, in a temporary home.
set -euo pipefail
cd "$(dirname "$0")/.."
NEARDUP_HOME=$(mktemp -d)
export NEARDUP_HOME

finish() {
    local status=$?
    .venv/bin/neardup down >/dev/null 2>&1 || true
    if [ $status != 0 ]; then
        tail -n 30 "$NEARDUP_HOME"/logs/*.log >&2 || true
    fi
    rm -rf "$NEARDUP_HOME"
}
trap finish EXIT

make --no-print-directory demo DETACH=1
make --no-print-directory down
