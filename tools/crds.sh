#!/usr/bin/env bash
# Fetches third-party CustomResourceDefinitions into .tools/crds, once: those of the Gateway API, Prometheus, Flux, Argo
# CD and secret managers. With them the API server of the tests can validate the output of the chart and the examples.
set -euo pipefail
cd "$(dirname "$0")/.."

target=.tools/crds
stamp=$(cat "$0" tools/crds/* | sha256sum | cut -c1-64)
if [ "$(cat "$target/.stamp" 2>/dev/null)" = "$stamp" ]; then
  echo "crds: ready in $target"
  exit 0
fi
if ! command -v go >/dev/null; then
  echo "crds: Go is needed to fetch them. Install Go 1.26 or newer." >&2
  exit 1
fi

# Writes to a temporary folder and renames it, so that an interrupted run leaves no partial folder.
mkdir -p .tools
new=$(mktemp -d "$(readlink -f .tools)/crds.XXXXXX")
trap 'rm -rf "$new"' EXIT

# field NAME: prints a field of the JSON that go prints.
field() { sed -n "s/^\t\"$1\": \"\(.*\)\",\{0,1\}$/\1/p"; }

while read -r module version sum files; do
  echo "crds: $module $version"
  answer=$(cd tools/crds && go mod download -json "$module@$version") || true
  if [ "$(field Sum <<<"$answer")" != "$sum" ]; then
    echo "crds: $module $version does not match tools/crds/modules: $(field Error <<<"$answer") $(field Sum <<<"$answer")" >&2
    exit 1
  fi
  for file in $files; do
    install -m 644 "$(field Dir <<<"$answer")/$file" "$new/"
  done
done < <(grep -v '^#' tools/crds/modules)

# The module with the definition of this kind cannot be downloaded, but its types can.
echo "crds: github.com/fluxcd/helm-controller, generated from its types"
(cd tools/crds && go tool controller-gen crd paths=github.com/fluxcd/helm-controller/api/v2 "output:crd:dir=$new")

echo "$stamp" >"$new/.stamp"
chmod 755 "$new"
rm -rf "$target"
mv "$new" "$target"
echo "crds: ready in $target"
