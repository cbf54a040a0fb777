#!/usr/bin/env bash
# Builds the real control plane (etcd, kube-apiserver, kube-controller-manager, kubectl, helm) into .tools/bin
# from the pinned Go modules in tools/, once.
# If KUBEBUILDER_ASSETS is set, builds nothing and uses the programs in that folder.
set -euo pipefail
cd "$(dirname "$0")/.."

programs=(etcd kube-apiserver kube-controller-manager kubectl helm)

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  missing=()
  for program in "${programs[@]}"; do [ -x "$KUBEBUILDER_ASSETS/$program" ] || missing+=("$program"); done
  if [ ${#missing[@]} -gt 0 ]; then
    echo "control plane: KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks: ${missing[*]}. Add them, or unset KUBEBUILDER_ASSETS to build them." >&2
    exit 1
  fi
  echo "control plane: using $KUBEBUILDER_ASSETS"
  exit 0
fi

if ! command -v go >/dev/null; then
  echo "control plane: the build needs Go. Install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder with: ${programs[*]}." >&2
  exit 1
fi

# shellcheck source=tools/build.sh
. tools/build.sh
version=$(kubernetes_version control-plane)

# kube-apiserver, the largest, takes about 5 minutes the first time.
build "control plane" control-plane etcd go.etcd.io/etcd/server/v3
build "control plane" control-plane kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$version"
build "control plane" control-plane kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$version"
build "control plane" control-plane kubectl k8s.io/kubernetes/cmd/kubectl "$version"
build "control plane" helm helm helm.sh/helm/v4/cmd/helm
echo "control plane: ready in .tools/bin"
