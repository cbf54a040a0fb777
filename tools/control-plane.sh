#!/usr/bin/env bash
# Builds the real control plane (etcd, kube-apiserver, kube-controller-manager, kubectl, helm) into .tools/bin
# from the pinned Go modules in tools/, once: a stamp of the pins and of the Go version says when to build again.
# With KUBEBUILDER_ASSETS set, nothing is built; the programs are looked for there instead.
set -euo pipefail
cd "$(dirname "$0")/.."

programs=(etcd kube-apiserver kube-controller-manager kubectl helm)

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  missing=()
  for program in "${programs[@]}"; do [ -x "$KUBEBUILDER_ASSETS/$program" ] || missing+=("$program"); done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "control plane: KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks: ${missing[*]}. Put them there, or unset it to have them built." >&2
    exit 1
  fi
  echo "control plane: taken from $KUBEBUILDER_ASSETS"
  exit 0
fi

if ! command -v go >/dev/null; then
  echo "control plane: Go is needed to build it. Install Go 1.26 or newer, or point KUBEBUILDER_ASSETS at a folder with: ${programs[*]}." >&2
  exit 1
fi

bin="$PWD/.tools/bin"
mkdir -p "$bin"
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false"

kubernetes=$(cd tools/control-plane && go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${kubernetes#v1.}
version="-X k8s.io/component-base/version.gitVersion=$kubernetes -X k8s.io/component-base/version.gitMajor=1"
version+=" -X k8s.io/component-base/version.gitMinor=${minor%%.*} -X k8s.io/component-base/version.gitTreeState=clean"

# build MODULE PROGRAM PACKAGE LDFLAGS: one line before, so that a long build is seen to live, and one after.
# A build to a temporary name and a rename, so that an interrupted build leaves no half program behind.
build() {
  local module=$1 program=$2 package=$3 ldflags=$4 stamp start
  stamp=$(cat "tools/$module/go.mod" "tools/$module/go.sum" <(go version) "$0" | sha256sum | cut -c1-64)
  if [ -x "$bin/$program" ] && [ "$(cat "$bin/.$program.stamp" 2>/dev/null)" = "$stamp" ]; then
    return
  fi
  echo "control plane: building $program (kube-apiserver, the largest, takes some 5 minutes the first time) ..."
  start=$SECONDS
  (cd "tools/$module" && go build -ldflags "-s -w $ldflags" -o "$bin/$program.new" "$package")
  mv "$bin/$program.new" "$bin/$program"
  echo "$stamp" >"$bin/.$program.stamp"
  echo "control plane: $program is built, in $((SECONDS - start)) s"
}

build control-plane etcd go.etcd.io/etcd/server/v3 ""
build control-plane kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$version"
build control-plane kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$version"
build control-plane kubectl k8s.io/kubernetes/cmd/kubectl "$version"
build helm helm helm.sh/helm/v4/cmd/helm ""
echo "control plane: ready in .tools/bin"
