#!/usr/bin/env bash
# Create .venv from requirements/default.txt, with every file checked against its hash, and install Java and Maven for
# the embedded Kafka. Called by `make setup`, which skips it while nothing has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/system_certificates.sh

fail() {
    echo "make setup: $*" >&2
    exit 1
}

as_root_on_debian() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    echo "make setup: installing $* by apt-get"
    apt-get update -q >/dev/null || true
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >/dev/null ||
        fail "apt-get install $* failed: install it yourself and try again"
}

# TensorFlow and h5py have no wheels for newer Pythons yet.
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
        if fits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11, 3.12 or 3.13 found: install one, or set it: make setup PYTHON=/path/to/python3.11"
}

make_venv() {
    local python=$1
    if ! fits .venv/bin/python; then
        rm -rf .venv
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            as_root_on_debian || fail "$python has no venv: on Debian or Ubuntu: apt-get install python3-venv"
            apt_install python3-venv
        fi
        "$python" -m venv .venv
    fi
    system_certificates
    # uv installs in seconds what takes pip minutes; pip only installs uv.
    .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
}

# A package index configured for pip applies to uv too.
follow_pip_configuration() {
    local index
    index=${PIP_INDEX_URL:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        export UV_DEFAULT_INDEX=$index
    fi
}

java_fits() {
    local major
    command -v java >/dev/null || return 1
    major=$(java -version 2>&1 | sed -n 's/.*version "\(1\.\)\{0,1\}\([0-9]*\).*/\2/p' | head -n 1)
    [ "${major:-0}" -ge 17 ]
}

ensure_kafka() {
    local java=openjdk-17-jre-headless
    if [ -n "${NEARDUP_KAFKA_BOOTSTRAP:-}" ]; then
        return
    fi
    if ! java_fits || ! command -v mvn >/dev/null; then
        as_root_on_debian || fail "Java 17 or newer and Maven are needed for the embedded Kafka: on Debian or" \
            "Ubuntu: apt-get install $java maven; or set NEARDUP_KAFKA_BOOTSTRAP to a cluster of your own"
        apt-get update -q >/dev/null || true
        # Newer releases have a newer Java only.
        apt-cache show "$java" >/dev/null 2>&1 || java=default-jre-headless
        apt_install "$java" maven
        java_fits || fail "the java on PATH is older than 17: put a newer one first"
    fi
    .venv/bin/python -m neardup_platform.servers.kafka_jars || exit 1
}

python=$(find_python)
make_venv "$python"
follow_pip_configuration
# Compile now rather than at the first start: importing TensorFlow from source takes 22 s instead of 8, in every process
# if PYTHONDONTWRITEBYTECODE is set.
.venv/bin/uv pip install -q --python .venv/bin/python --compile-bytecode --require-hashes -r requirements/default.txt
.venv/bin/uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation --editable .
ensure_kafka
