#!/usr/bin/env bash
# Builds the container image with buildah from the output of cargo, so that no registry is needed.
#   tools/image.sh IMAGE TAG
set -euo pipefail
cd "$(dirname "$0")/.."

image=$1 tag=$2
if ! command -v buildah >/dev/null; then
  echo "image: install buildah (Debian: apt-get install buildah). With Docker: docker build --file Containerfile --tag $image:$tag ." >&2
  exit 1
fi

tools/image-files.sh target/image
before=$(buildah images --quiet "$image:$tag" 2>/dev/null || true)
buildah build --quiet --file Containerfile --build-context files=target/image --build-arg VERSION="$tag" \
  --tag "$image:$tag" target/image >/dev/null
# The previous image would stay without a name.
if [ -n "$before" ] && [ "$before" != "$(buildah images --quiet "$image:$tag")" ]; then buildah rmi "$before" >/dev/null; fi
size() { find "$@" -type f -printf '%s\n' | awk '{ sum += $1 } END { printf "%.1f MB", sum / 1e6 }'; }
echo "image: built $image:$tag: $(size target/image), including $(size target/image/pad-operator) of the program"
