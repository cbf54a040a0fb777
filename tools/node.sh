#!/usr/bin/env bash
# Builds what one real Kubernetes node takes beside the control plane (kubelet, kube-proxy, kube-scheduler, CoreDNS and
# the program of Pods' first containers) into .tools/bin from the pinned Go modules in tools/, once. Says which of
# Debian's packages are missing, or installs them if it may.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
  echo "node: root is needed, for namespaces, cgroups and containers: sudo --preserve-env=PATH make e2e" >&2
  exit 1
fi

# What comes with each: containerd and ctr, runc, bridge and its like, nft, ip, buildah, openssl, unshare.
packages=(containerd runc containernetworking-plugins nftables iproute2 buildah openssl util-linux ca-certificates)
missing=()
for package in "${packages[@]}"; do
  dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    echo "node: these packages of Debian are missing here: ${missing[*]}" >&2
    exit 1
  fi
  echo "node: installing ${missing[*]} ..."
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! command -v go >/dev/null; then
  echo "node: Go is needed to build it. Install Go 1.26 or newer." >&2
  exit 1
fi

# shellcheck source=tools/build.sh
. tools/build.sh
version=$(kubernetes_version node)
if [ "$version" != "$(kubernetes_version control-plane)" ]; then
  echo "node: tools/node and tools/control-plane name two versions of Kubernetes" >&2
  exit 1
fi

for program in kube-scheduler kubelet kube-proxy; do
  build node node "$program" "k8s.io/kubernetes/cmd/$program" "$version"
done
build node node pause ./pause
build node coredns coredns .
echo "node: ready in .tools/bin"
