#!/usr/bin/env bash
# Fail if the generated message code is out of date with the .proto files.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
protos=(neardup_platform/wire/neardup.proto neardup_platform/store/store.proto)
.venv/bin/python -m grpc_tools.protoc -I . --python_out="$fresh" --pyi_out="$fresh" "${protos[@]}"
for proto in "${protos[@]}"; do
    for file in "${proto%.proto}_pb2.py" "${proto%.proto}_pb2.pyi"; do
        cmp -s "$fresh/$file" "$file" || {
            echo "$file is out of date with $proto: run make proto" >&2
            exit 1
        }
    done
done
