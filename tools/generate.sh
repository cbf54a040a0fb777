#!/usr/bin/env bash
# Writes the generated files: crds/ and its copies from the types in crates/api, deploy/kustomize from these and the chart, and
# the generated pages of docs/. With --check, writes nothing, and fails if any file in the repository differs.
set -euo pipefail
cd "$(dirname "$0")/.."

# The copies are needed because neither helm nor kustomize reads outside its own folder.
copies=(crds charts/pad-operator/files/crds deploy/kustomize/base/crds)
kustomize=deploy/kustomize
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

mkdir "$new/crds"
cargo run --quiet --locked --package pad-operator -- crds --output-dir "$new/crds"
count=$(find "$new/crds" -name 'padoperator.dev_*.yaml' | wc -l)
if [ "$count" -ne 3 ]; then
  echo "generate: expected 3 CustomResourceDefinitions, but $count were written" >&2
  exit 1
fi

# render FILE TEMPLATES VALUE...: renders these templates of the chart to FILE, without the labels that are specific to Helm.
render() {
  local file=$1 templates=$2 arguments=()
  shift 2
  for template in $templates; do arguments+=(--show-only "templates/$template.yaml"); done
  for value in "$@"; do arguments+=(--set "$value"); done
  mkdir -p "$new/$(dirname "$file")"
  {
    echo "# Generated from charts/pad-operator by \`make generate\`. Do not edit."
    "${KUBEBUILDER_ASSETS:-.tools/bin}/helm" template pad-operator charts/pad-operator --namespace pad-operator \
      --set image.repository=pad-operator "${arguments[@]}" |
      sed -e '/^ *helm.sh\/chart: /d' -e '/^ *app.kubernetes.io\/managed-by: Helm$/d' -e '/^# Source: /d'
  } >"$new/$file"
}

rendered=(base/pad-operator.yaml overlays/cluster-wide/rbac.yaml overlays/single-namespace/rbac.yaml)
render "${rendered[0]}" "serviceaccount rbac-leader service service-metrics poddisruptionbudget deployment" clusterWide=true
render "${rendered[1]}" rbac-cluster clusterWide=true
render "${rendered[2]}" rbac-namespaces

pages=(api.md flags.md examples.md values.md)
mkdir "$new/docs"
cargo run --quiet --locked --package documents -- pages "$new/docs"

if [ "${1:-}" = --check ]; then
  for copy in "${copies[@]}"; do
    if ! diff -ruN "$copy" "$new/crds"; then
      echo "generate: $copy does not match crates/api. Run make generate" >&2
      exit 1
    fi
  done
  for file in "${rendered[@]}"; do
    if ! diff -uN "$kustomize/$file" "$new/$file"; then
      echo "generate: $kustomize/$file does not match the chart. Run make generate" >&2
      exit 1
    fi
  done
  for page in "${pages[@]}"; do
    if ! diff -uN "docs/$page" "$new/docs/$page"; then
      echo "generate: docs/$page does not match its source. Run make generate" >&2
      exit 1
    fi
  done
  echo "generate: up to date"
  exit 0
fi

for copy in "${copies[@]}"; do
  mkdir -p "$copy"
  find "$copy" -name '*.yaml' -delete
  cp "$new"/crds/*.yaml "$copy"/
  echo "generate: $copy"
done
for file in "${rendered[@]}"; do
  cp "$new/$file" "$kustomize/$file"
  echo "generate: $kustomize/$file"
done
for page in "${pages[@]}"; do
  cp "$new/docs/$page" "docs/$page"
  echo "generate: docs/$page"
done
