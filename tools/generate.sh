#!/usr/bin/env bash
# Writes what is generated from the types in src/api: crds/, and the chart's copy of it.
# With --check nothing is written: it fails if anything that is checked in differs.
set -euo pipefail
cd "$(dirname "$0")/.."

copies=(crds charts/pad-operator/files/crds)
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

cargo run --quiet --locked --package pad-operator -- crds --output-dir "$new"
count=$(find "$new" -name 'padoperator.dev_*.yaml' | wc -l)
if [ "$count" -ne 3 ]; then
  echo "generate: 3 CustomResourceDefinitions were expected, $count were written" >&2
  exit 1
fi

if [ "${1:-}" = --check ]; then
  for copy in "${copies[@]}"; do
    if ! diff -ruN "$copy" "$new"; then
      echo "generate: $copy is not what src/api says: run make generate" >&2
      exit 1
    fi
  done
  echo "generate: up to date"
  exit 0
fi

for copy in "${copies[@]}"; do
  mkdir -p "$copy"
  find "$copy" -name '*.yaml' -delete
  cp "$new"/*.yaml "$copy"/
  echo "generate: $copy"
done
