#!/usr/bin/env bash
# Fail if the generated message code is out of date with neardup.proto.
set -euo pipefail
cd "$(dirname "$0")/.."
messages=neardup_platform/wire
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
.venv/bin/python -m grpc_tools.protoc -I "$messages" --python_out="$fresh" --pyi_out="$fresh" neardup.proto
for file in neardup_pb2.py neardup_pb2.pyi; do
    cmp -s "$fresh/$file" "$messages/$file" || {
        echo "$messages/$file is out of date with neardup.proto: run make proto" >&2
        exit 1
    }
done
